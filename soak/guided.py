"""Requests guided by what code they reach: ``python -m soak.guided (body|app) [options of libFuzzer]``; by atheris."""

import sys
import tempfile
from pathlib import Path

import atheris

with atheris.instrument_imports(include=["otel_feedback.capture", "otel_feedback._feedback", "json"]):
    from otel_feedback import _guard
    from otel_feedback.capture import body
    from otel_feedback.capture.problems import Problem
    from soak.inside import Watched

from soak.bodies import SECRET, Sent, seeds
from soak.process import handles


def try_body(data: bytes) -> None:
    """Parse bytes: what can't be understood is a problem, and says nothing of them."""
    try:
        body._shaped(body._parsed(data))  # noqa: SLF001 - what is tried
    except Problem as problem:
        _require_silence(problem.detail)


def _require_silence(said: str) -> None:
    assert SECRET not in said


def main() -> None:
    """Fuzz until libFuzzer's options say that it is enough; it ends the process."""
    what, *options = sys.argv[1:]
    watched = Watched()

    def try_app(data: bytes) -> None:
        watched.send(Sent(data))

    with tempfile.TemporaryDirectory() as folder, _guard.strict():
        for number, text in enumerate(seeds(next(handles()))):
            Path(folder, str(number)).write_bytes(text[:4_096])
        atheris.Setup([sys.argv[0], *options, "-max_len=4096", folder], try_app if what == "app" else try_body)
        atheris.Fuzz()


if __name__ == "__main__":
    main()
