"""Options that several commands share, and what they make of them."""

from pathlib import Path
from typing import Annotated, Final

import typer

from otel_feedback.cli._source import Place

Url = Annotated[
    str | None,
    typer.Option(
        "--url", metavar="URL", help="Address of the server. [env: OTEL_FEEDBACK_URL] [default: http://127.0.0.1:8484]"
    ),
]
Data = Annotated[
    Path | None,
    typer.Option(
        "--data",
        metavar="DIR",
        help="Data folder: its server if one runs, else the folder itself. [env: OTEL_FEEDBACK_DATA]",
    ),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON for programs.")]
Since = Annotated[
    str | None,
    typer.Option(
        metavar="TIME", help="Answers from then on: 30m, 24h, 7d, 2w ago, all, or a time such as 2026-11-25T09:00Z."
    ),
]
Until = Annotated[str | None, typer.Option(metavar="TIME", help="Answers before then, in the same forms.")]
Service = Annotated[str | None, typer.Option(help="Only of this service.")]
Namespace = Annotated[str | None, typer.Option(help="Only of services of this namespace.")]
Environment = Annotated[str | None, typer.Option(help="Only of this deployment environment.")]
Template = Annotated[str | None, typer.Option(help="Only of this prompt template.")]
Version = Annotated[str | None, typer.Option(help="Only of this version of a template.")]
Model = Annotated[str | None, typer.Option(help="Only of this model.")]
QueryType = Annotated[str | None, typer.Option("--query-type", help="Only of this query type.")]

FILTERS: Final = ("since", "until", "service", "namespace", "environment", "template", "version", "model", "query_type")
"""Names of the filters, as the API has them."""


def place(url: str | None, data: Path | None) -> Place:
    """Return where things are, by the options, else the environment."""
    return Place.choose(url, data)


def query(**values: str | int | None) -> dict[str, str]:
    """Return what was given, as the API takes it: ``all`` times, which pages have for a word, are no bound there."""
    given = {name: str(value) for name, value in values.items() if value is not None and str(value).strip()}
    return {name: value for name, value in given.items() if (name, value) != ("since", "all")}
