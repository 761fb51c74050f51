"""What capture is measured against: Starlette, pydantic and SQLite with the same group commit, and nothing else.

``python -m benchmarks.bare_capture PORT FILE``
"""

import json
import secrets
import sqlite3
import sys
from collections.abc import Sequence
from http import HTTPStatus
from pathlib import Path

import uvicorn
from pydantic import BaseModel
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

from otel_feedback.outbox._committer import Committer


class Feedback(BaseModel):
    """A body as capture takes it."""

    handle: str
    signal: str
    value: str | int | float | bool | None
    id: str | None = None
    comment: str | None = None


class Session:
    """Rows of one transaction."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection
        self.rows: list[tuple[str, str]] = []

    def prepare(self, hints: Sequence[object]) -> None:
        """There is nothing to read."""

    def mark(self) -> int:
        """Return where it stands."""
        return len(self.rows)

    def back_to(self, mark: int) -> None:
        """Forget what came after a mark."""
        del self.rows[mark:]

    def write(self) -> None:
        """Insert all."""
        self._connection.execute(
            "INSERT INTO feedback SELECT json_extract(value, '$[0]'), json_extract(value, '$[1]') FROM json_each(?)",
            (json.dumps(self.rows),),
        )

    def written(self) -> None:
        """Nobody waits."""


def app(path: Path) -> Starlette:
    """Make the application over one file."""

    def connect() -> sqlite3.Connection:
        connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = FULL")
        connection.execute("CREATE TABLE IF NOT EXISTS feedback (id TEXT, body TEXT)")
        return connection

    committer = Committer(connect, Session)

    async def take(request: Request) -> JSONResponse:
        body = await request.body()
        feedback = Feedback.model_validate_json(body)
        own = feedback.id or secrets.token_hex(16)
        await committer.soon(lambda session: session.rows.append((own, body.decode())))
        return JSONResponse({"id": own}, HTTPStatus.ACCEPTED)

    return Starlette(routes=[Route("/v1/feedback", take, methods=["POST"])])


if __name__ == "__main__":
    uvicorn.run(app(Path(sys.argv[2])), port=int(sys.argv[1]), access_log=False, server_header=False)
