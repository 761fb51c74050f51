"""The capture application in this process, for fuzzers that need it near: a failure of ours is raised, not answered."""

from starlette.applications import Starlette

from otel_feedback._carrier import Carrier
from otel_feedback._handle import HandleCodec, Keyring
from otel_feedback._record import Recorder
from otel_feedback._settings import Settings
from otel_feedback.capture import capture_app
from soak.process import KEYS


class _Nowhere:
    """A delivery that keeps nothing."""

    def submit(self, carrier: Carrier) -> None:
        """Take a carrier."""


def application() -> Starlette:
    """Return the application; it accepts handles of ``soak.process.handles``."""
    codec = HandleCodec(Keyring.from_text(KEYS))
    recorder = Recorder(codec=codec, settings=Settings(handle_keys=KEYS), delivery=_Nowhere())
    return capture_app(recorder=recorder, limits=None, allow_origins=["https://chat.example.com"])
