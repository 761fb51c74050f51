"""Run all parts, or the one that is named: ``python -m soak [PART [OPTIONS]]``."""

import importlib
import sys
from typing import Final

PARTS: Final = {
    "kill": "capture and the Collector killed under load: nothing acknowledged is lost, nothing is there twice",
    "fuzz": "malformed requests: no 5xx, no traceback, no echo",
    "overload": "ten times what the endpoint can take: it sheds, and keeps what it acknowledged",
}
"""Modules of this package, each with ``main(arguments) -> int``; what they try."""


def main(arguments: list[str]) -> int:
    """Run them; 0 where all of them held."""
    if not arguments:
        return max(_run(part, []) for part in PARTS)
    part, *options = arguments
    if part not in PARTS:
        print(
            "python -m soak [PART [OPTIONS]]; parts:", *(f"  {name}: {what}" for name, what in PARTS.items()), sep="\n"
        )
        return 2
    return _run(part, options)


def _run(part: str, options: list[str]) -> int:
    print(f"== {part}: {PARTS[part]}", flush=True)
    code: int = importlib.import_module(f"soak.{part}").main(options)
    print(f"== {part}: {'held' if code == 0 else 'FAILED'}", flush=True)
    return code


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
