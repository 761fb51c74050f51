"""The history of the tables: what was done to a file of the store, step by step, each applied once and recorded.

A step never changes once it is released; what comes later is a new step at the end. Every file keeps its own record in
its table ``migrations``. ``docs/store.md`` describes every column.
"""

import shlex
import time
from typing import TYPE_CHECKING, Final, NamedTuple

from otel_feedback._requirement import requirement
from otel_feedback.exceptions import StoreNewerError

if TYPE_CHECKING:
    from collections.abc import Sequence

    import duckdb


class Migration(NamedTuple):
    """One step; its number is its place in the list."""

    name: str
    sql: str
    """Statements without a database's name: they run while the file is the connection's own."""


MAIN: Final[tuple[Migration, ...]] = (
    Migration(
        "m001_create_tables",
        """
        CREATE TABLE interactions (
            trace_id VARCHAR NOT NULL,
            span_id VARCHAR NOT NULL,
            started_at TIMESTAMP NOT NULL,
            duration_ns BIGINT NOT NULL,
            name VARCHAR NOT NULL,
            service VARCHAR NOT NULL,
            namespace VARCHAR NOT NULL,
            environment VARCHAR NOT NULL,
            prompt_name VARCHAR NOT NULL,
            prompt_version VARCHAR NOT NULL,
            model VARCHAR NOT NULL,
            query_type VARCHAR NOT NULL,
            prompt_fingerprint VARCHAR,
            provider VARCHAR,
            response_id VARCHAR,
            conversation_id VARCHAR,
            user_hash VARCHAR,
            error VARCHAR,
            flagged BOOLEAN NOT NULL,
            complete BOOLEAN NOT NULL
        );
        CREATE TABLE documents (
            trace_id VARCHAR NOT NULL,
            span_id VARCHAR NOT NULL,
            started_at TIMESTAMP NOT NULL,
            rank INTEGER NOT NULL,
            document_id VARCHAR NOT NULL,
            score DOUBLE
        );
        CREATE TABLE feedback (
            trace_id VARCHAR NOT NULL,
            span_id VARCHAR NOT NULL,
            signal VARCHAR NOT NULL,
            submitter VARCHAR NOT NULL,
            feedback_id VARCHAR NOT NULL,
            at_ns BIGINT NOT NULL,
            kind VARCHAR NOT NULL,
            sentiment VARCHAR NOT NULL,
            previous_sentiment VARCHAR,
            revises VARCHAR,
            score DOUBLE,
            label VARCHAR,
            confidence DOUBLE,
            reasons VARCHAR[] NOT NULL,
            source VARCHAR NOT NULL,
            target_sampled BOOLEAN,
            first BOOLEAN,
            carrier_trace_id VARCHAR NOT NULL,
            carrier_span_id VARCHAR NOT NULL,
            service VARCHAR NOT NULL,
            namespace VARCHAR NOT NULL,
            environment VARCHAR NOT NULL,
            prompt_name VARCHAR NOT NULL,
            prompt_version VARCHAR NOT NULL,
            model VARCHAR NOT NULL,
            query_type VARCHAR NOT NULL,
            conversation_id VARCHAR,
            given_at TIMESTAMP NOT NULL,
            answered_at TIMESTAMP NOT NULL,
            standing BOOLEAN NOT NULL,
            joined BOOLEAN NOT NULL
        );
        CREATE INDEX feedback_by_trace ON feedback (trace_id);
        CREATE TABLE evaluations (
            trace_id VARCHAR NOT NULL,
            span_id VARCHAR NOT NULL,
            name VARCHAR NOT NULL,
            evaluation_id VARCHAR NOT NULL,
            at_ns BIGINT NOT NULL,
            score DOUBLE,
            label VARCHAR,
            source VARCHAR NOT NULL
        );
        """,
    ),
)
"""Steps of ``store.duckdb``."""

CONTENT: Final[tuple[Migration, ...]] = (
    Migration(
        "m001_create_tables",
        """
        CREATE TABLE traces (
            trace_id VARCHAR NOT NULL,
            first_at TIMESTAMP NOT NULL,
            last_at TIMESTAMP NOT NULL,
            spans INTEGER NOT NULL,
            members BLOB NOT NULL,
            chunk BIGINT NOT NULL
        );
        CREATE TABLE chunks (
            chunk BIGINT NOT NULL,
            received_at TIMESTAMP NOT NULL,
            part INTEGER NOT NULL,
            data BLOB NOT NULL USING COMPRESSION uncompressed
        );
        -- By the index one row is read, where a scan would read a whole group: but only of what isn't compressed again.
        CREATE INDEX chunks_by_number ON chunks (chunk);
        -- What DuckDB comes to by itself, after trying all that it knows at each checkpoint.
        CREATE TABLE texts (
            trace_id VARCHAR NOT NULL,
            span_id VARCHAR NOT NULL,
            parent_id VARCHAR NOT NULL,
            started_at TIMESTAMP NOT NULL,
            question VARCHAR USING COMPRESSION dict_fsst,
            answer VARCHAR USING COMPRESSION dict_fsst,
            system VARCHAR USING COMPRESSION dict_fsst,
            source VARCHAR NOT NULL
        );
        CREATE TABLE words (
            trace_id VARCHAR NOT NULL,
            span_id VARCHAR NOT NULL,
            signal VARCHAR NOT NULL,
            submitter VARCHAR NOT NULL,
            feedback_id VARCHAR NOT NULL,
            at_ns BIGINT NOT NULL,
            comment VARCHAR,
            original VARCHAR,
            corrected VARCHAR
        );
        """,
    ),
)
"""Steps of a content file, ``content/2026-W48.duckdb``."""


def migrate(connection: "duckdb.DuckDBPyConnection", database: str, steps: "Sequence[Migration]", *, file: str) -> int:
    """Bring an attached file up to date.

    Args:
        connection: Whoever calls has it alone; its current database is another afterwards.
        database: The name it is attached by.
        steps: All steps of its kind.
        file: What to call it in messages.

    Returns:
        How many steps were applied.

    Raises:
        StoreNewerError: The file has steps that this version doesn't know.
    """
    connection.execute(f'USE "{database}"')
    connection.execute(
        "CREATE TABLE IF NOT EXISTS migrations (version INTEGER NOT NULL, name VARCHAR NOT NULL, applied_at TIMESTAMP)"
    )
    known = len(steps)
    # Rows and not max(version), which DuckDB answers without reading the table: so a file that was cut off is noticed.
    rows = connection.execute("SELECT version, name, applied_at FROM migrations").fetchall()
    applied = max((row[0] for row in rows), default=0)
    if applied > known:
        raise StoreNewerError(
            f"{file} is of version {applied} and this otel-feedback knows versions up to {known}. "
            f"Nothing was changed. Upgrade it: pip install --upgrade {shlex.quote(requirement('server'))}"
        )
    for version, step in enumerate(steps[applied:], start=applied + 1):
        connection.execute("BEGIN")
        try:
            connection.execute(step.sql)
            connection.execute(
                "INSERT INTO migrations VALUES (?, ?, make_timestamp(?))", [version, step.name, time.time_ns() // 1000]
            )
        except BaseException:
            connection.execute("ROLLBACK")
            raise
        connection.execute("COMMIT")
    return known - int(applied)
