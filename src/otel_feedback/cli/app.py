"""What all commands share: the root command, its version, and how errors end."""

import sys
from typing import Annotated

import typer

from otel_feedback._version import VERSION
from otel_feedback.cli import capture, key
from otel_feedback.exceptions import ConfigurationError, MissingExtraError

app = typer.Typer(
    name="otel-feedback",
    help="Close the feedback loop of an AI system on OpenTelemetry.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
app.command("capture")(capture.capture)
app.add_typer(key.app, name="key")


def _show_version(value: bool) -> None:  # noqa: FBT001 - typer's callback
    if value:
        print(f"otel-feedback {VERSION}")
        raise typer.Exit


@app.callback()
def root(
    *,
    version: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Show the version and exit.")
    ] = False,
) -> None:
    """Close the feedback loop of an AI system on OpenTelemetry."""


def run() -> None:
    """Run the command line; errors of ours end it with one sentence."""
    try:
        app()
    except ConfigurationError as error:
        print(f"otel-feedback: {error}", file=sys.stderr)
        raise SystemExit(2) from None
    except MissingExtraError as error:
        print(f"otel-feedback: {error}", file=sys.stderr)
        raise SystemExit(1) from None
