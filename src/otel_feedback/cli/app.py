"""What all commands share: the root command, its version, and how errors end."""

from typing import Annotated, Any, Final, NoReturn

import typer
import typer.core

from otel_feedback._version import VERSION
from otel_feedback.cli import _show, answers, capture, db, key, outbox, satisfaction, show, status, tail, up
from otel_feedback.cli import run as service
from otel_feedback.exceptions import ConfigurationError, InvalidQueryError, OtelFeedbackError

_NOISE: Final = {"Value error, ": "", "Input should be ": "it must be "}
"""How sentences begin that typer takes from what checks values for it, and how ours do."""


class _Commands(typer.core.TyperGroup):
    """The root command: what a wrong value is told is a sentence for people."""

    def invoke(self, ctx: Any) -> Any:
        """Run the command."""
        try:
            return super().invoke(ctx)
        except typer.BadParameter as error:
            for noise, plain in _NOISE.items():
                if error.message.startswith(noise):
                    error.message = plain + error.message.removeprefix(noise)
            raise


app = typer.Typer(
    cls=_Commands,
    name="otel-feedback",
    help="Close the feedback loop of an AI system on OpenTelemetry.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
app.command("up", short_help="Run the whole loop in one process.")(up.up)
app.command("run", context_settings={"allow_interspersed_args": False})(service.run)
app.command("status")(status.status)
app.command("templates")(satisfaction.templates)
app.command("answers")(answers.answers)
app.command("show")(show.show)
app.command("tail")(tail.tail)
app.add_typer(db.app, name="db")
app.command("capture")(capture.capture)
app.add_typer(outbox.app, name="outbox", short_help="Show what waits to be delivered, and send it.")
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
    except InvalidQueryError as error:
        option = _option(error.field)
        sentence = error.name_fields(_option)
        _end(sentence if option in sentence else f"{option}: {sentence}", 2)
    except ConfigurationError as error:
        _end(str(error), 2)
    except OtelFeedbackError as error:
        _end(str(error), 1)


def _option(field: str) -> str:
    return f"--{field.replace('_', '-')}"


def _end(sentence: str, code: int) -> NoReturn:
    _show.note(f"otel-feedback: {sentence}")
    raise SystemExit(code) from None
