"""``otel-feedback up``: the whole loop in one process."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.text import Text

from otel_feedback._keys import KEY_FILE
from otel_feedback.cli import _show
from otel_feedback.exceptions import MissingExtraError

if TYPE_CHECKING:
    from otel_feedback.server.options import Address
    from otel_feedback.server.up import Running


def up(
    *,
    data: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR",
            help="Folder that everything is kept in. [env: OTEL_FEEDBACK_DATA] [default: ~/.local/share/otel-feedback]",
        ),
    ] = None,
    listen: Annotated[
        str, typer.Option(metavar="HOST:PORT", help="Pages, API and capture; OTLP/HTTP too.")
    ] = "127.0.0.1:8484",
    otlp_grpc: Annotated[
        str, typer.Option("--otlp-grpc", metavar="HOST:PORT", help="OTLP/gRPC; or off.")
    ] = "127.0.0.1:4317",
    otlp_http: Annotated[
        str, typer.Option("--otlp-http", metavar="HOST:PORT", help="OTLP/HTTP alone; or off.")
    ] = "127.0.0.1:4318",
    allow_origin: Annotated[
        list[str] | None,
        typer.Option(metavar="ORIGIN", help="Origin of pages that may send feedback; * for any. May be repeated."),
    ] = None,
    allow_host: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME", help="Name that this is reached by, as behind a proxy. May be repeated."),
    ] = None,
    keep_content: Annotated[
        bool | None,
        typer.Option(
            "--keep-content/--drop-content",
            help="Whether questions, answers and comments are kept. [default: kept where only this machine can send]",
        ),
    ] = None,
    jaeger: Annotated[
        str | None, typer.Option(metavar="URL", help="Jaeger's pages, to link to where it has the traces too.")
    ] = None,
) -> None:
    """Receive, keep and show answers and what people think of them, in one process.

    OTLP comes in, users' feedback too, everything is kept in one folder, and a page shows it. On an address that other
    machines reach, everything but the capture of feedback asks for a token; docs/up.md has the details.

    \b
    Examples:
      otel-feedback up
      otel-feedback up --data ./feedback --otlp-grpc off
      otel-feedback up --listen 0.0.0.0:8484 --allow-origin https://chat.example.com
    """  # noqa: D301 - \b keeps the lines below it as they are
    try:
        from otel_feedback.server.options import Address, ServerOptions, default_data
        from otel_feedback.server.up import run
    except ModuleNotFoundError as error:
        missing = (error.name or "").partition(".")[0]
        if missing == "otel_feedback":
            raise
        raise MissingExtraError("server", missing) from None

    options = ServerOptions(
        data=data.expanduser() if data else default_data(),
        listen=Address.parse(listen, option="--listen"),
        otlp_grpc=_or_off(otlp_grpc, "--otlp-grpc"),
        otlp_http=_or_off(otlp_http, "--otlp-http"),
        allow_origins=tuple(allow_origin or ()),
        allow_hosts=tuple(allow_host or ()),
        keep_content=keep_content,
        jaeger_url=jaeger,
    )
    code = run(options, on_ready=_tell)
    if code:
        raise typer.Exit(code)


def _or_off(text: str, option: str) -> "Address | None":
    from otel_feedback.server.options import Address

    return None if text == "off" else Address.parse(text, option=option)


def _tell(running: "Running") -> None:
    """Say where everything is, and what to paste into a service."""
    from otel_feedback.server.options import run_command

    options = running.options
    console = _show.console()

    def line(*parts: tuple[str, str] | str) -> None:
        console.print(Text.assemble(*parts), soft_wrap=True, highlight=False)

    line(("otel-feedback is up.", "bold"), " Ctrl-C ends it.\n")
    line("  Page       ", (options.listen.url, "cyan"))
    otlp = [
        f"{address.url} ({name})"
        for name, address in (("gRPC", options.otlp_grpc), ("HTTP", options.otlp_http))
        if address
    ]
    line(
        "  OTLP       ",
        ", ".join([*otlp, "and the page's own address (HTTP)"] if otlp else [f"{options.listen.url} (HTTP)"]),
    )
    line("  Feedback   ", f"POST {options.listen.url}/v1/feedback")
    line("  Data       ", str(options.data))
    kept = "kept: questions, answers, comments" if options.content_kept else "dropped (--keep-content keeps it)"
    line("  Content    ", kept)
    if not options.is_local:
        line("  Token      ", f"in {running.token_file}; other machines reach this, so it is asked for")
    line("\nStart a service of this machine with everything set, by whichever command starts it:\n")
    for command in ("uvicorn app:app", "python app.py"):
        line("  ", (f"{run_command(options.data)} -- {command}", "green"))
    line("\nor set in its environment:\n")
    for variable, value in _environment(running):
        line("  ", (f"export {variable}={value}", "green"))
    console.print()


def _environment(running: "Running") -> list[tuple[str, str]]:
    options = running.options
    found = [
        ("OTEL_EXPORTER_OTLP_ENDPOINT", options.listen.url),
        ("OTEL_EXPORTER_OTLP_PROTOCOL", "http/protobuf"),
        ("OTEL_FEEDBACK_HANDLE_KEYS_FILE", str(options.data / KEY_FILE)),
    ]
    if not options.listen.is_loopback:
        # Not the token itself: what is printed here ends in logs.
        found.append(("OTEL_EXPORTER_OTLP_HEADERS", f'"authorization=Bearer%20$(cat {running.token_file})"'))
    return found
