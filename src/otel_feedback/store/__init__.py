"""The store: interactions, feedback, documents and raw spans in one folder, kept by DuckDB; needs ``[server]``."""

from otel_feedback.exceptions import MissingExtraError

try:
    from otel_feedback.store._commit import Change
    from otel_feedback.store._store import Store
    from otel_feedback.store._writer import Queued
except ModuleNotFoundError as error:
    missing = (error.name or "").partition(".")[0]
    if missing != "duckdb":
        raise
    raise MissingExtraError("server", missing) from error

__all__ = ["Change", "Queued", "Store"]
