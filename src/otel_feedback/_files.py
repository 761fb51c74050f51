"""Files in folders of ours: what they are called where several parts look for them, and how they come to be whole."""

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Final

MAIN_FILE: Final = "store.duckdb"
"""The main tables, in the data folder."""

SERVER_FILE: Final = "server.json"
"""Where the server of the data folder is, as long as it runs."""

TOKEN_FILE: Final = "token"  # noqa: S105 - a file's name
"""The token of the data folder."""


def create_once(path: Path, text: str) -> None:
    """Write a file that appears whole or not at all, and once: of several processes the first one's stays.

    Its mode is 0600 from its first moment; folders that are missing are made, mode 0700.
    """
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    with _written(path, text) as temporary, contextlib.suppress(FileExistsError):
        os.link(temporary, path)


def replace(path: Path, text: str) -> None:
    """Write a file, mode 0600, in the place of the one that may be there: readers find the old or the new one."""
    with _written(path, text) as temporary:
        temporary.replace(path)


@contextlib.contextmanager
def _written(path: Path, text: str) -> Iterator[Path]:
    """Write a text to a file beside the path, durably; it goes with the block unless it was moved."""
    import tempfile  # with what it imports, half of this package's import time

    descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}-")
    temporary = Path(name)
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            file.write(f"{text}\n")
            file.flush()
            os.fsync(descriptor)
        yield temporary
    finally:
        temporary.unlink(missing_ok=True)
