"""The command ``otel-feedback``; needs the extra ``[capture]``. One file per group of commands."""

import sys


def main() -> None:
    """Run the command line. It exits with 2 where call or configuration can't be used, 1 where a part is missing."""
    try:
        from otel_feedback.cli.app import run
    except ModuleNotFoundError as error:
        if error.name not in ("typer", "rich"):
            raise
        print("otel-feedback's commands need more parts. Run: pip install 'otel-feedback[capture]'", file=sys.stderr)
        raise SystemExit(1) from None
    run()
