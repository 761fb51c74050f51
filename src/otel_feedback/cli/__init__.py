"""The command ``otel-feedback``; needs the extra ``[capture]``. One file per group of commands."""

import shlex
import sys

from otel_feedback._requirement import requirement


def main() -> None:
    """Run the command line. It exits with 2 where call or configuration can't be used, 1 where a part is missing."""
    try:
        from otel_feedback.cli.app import run
    except ModuleNotFoundError as error:
        if error.name not in ("typer", "rich"):
            raise
        part = shlex.quote(requirement("capture"))
        print(f"otel-feedback's commands need more parts. Run: pip install {part}", file=sys.stderr)
        raise SystemExit(1) from None
    run()
