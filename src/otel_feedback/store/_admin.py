"""Looking after a store: what is in it, a copy while it runs, whether all can be read, and giving room back."""

import datetime as dt
import os
import shutil
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import duckdb

from otel_feedback._files import MAIN_FILE
from otel_feedback.exceptions import StoreError, StoreFullError
from otel_feedback.store._databases import ROWS_OF_CONTENT, ROWS_OF_MAIN, STORE, attach_text, week_in
from otel_feedback.store._errors import translate
from otel_feedback.store._folder import CONTENT_FOLDER, RESERVE_BYTES, close_to_others, sync
from otel_feedback.store._migrations import CONTENT, MAIN

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from otel_feedback.store._databases import Databases
    from otel_feedback.store._folder import Folder
    from otel_feedback.store._migrations import Migration

TABLES_OF_MAIN: Final = ("interactions", "documents", "feedback", "evaluations")
TABLES_OF_CONTENT: Final = ("traces", "chunks", "texts", "words")


class Item(NamedTuple):
    """One file of the store."""

    name: str
    """The database's name."""
    file: Path
    tables: tuple[str, ...]
    steps: "Sequence[Migration]"


def items(folder: "Folder", databases: "Databases") -> list[Item]:
    """The files of a store, the main one first, content from the oldest."""
    weeks = ((name, folder.content_file(week_in(name))) for name in databases.content())
    return [
        Item(STORE, folder.main, TABLES_OF_MAIN, MAIN),
        *(Item(name, file, TABLES_OF_CONTENT, CONTENT) for name, file in weeks),
    ]


def info(folder: "Folder", databases: "Databases") -> dict[str, Any]:
    """What is in a store: files with their sizes, rows and versions, and from when to when.

    Returns:
        Values that JSON has: times are ISO 8601 in UTC, sizes bytes.
    """
    with databases.cursor() as cursor:
        files = [_info_of(cursor, item) for item in items(folder, databases)]
        oldest, newest = _one(cursor, "SELECT min(started_at), max(started_at) FROM store.interactions")
    return {
        "path": str(folder.path),
        "duckdb": duckdb.__version__,
        "bytes": sum(file["bytes"] for file in files),
        "free_bytes": folder.room(),
        "oldest": _iso(oldest),
        "newest": _iso(newest),
        "rows": {name: sum(file["rows"].get(name, 0) for file in files) for name in TABLES_OF_MAIN + TABLES_OF_CONTENT},
        "files": files,
    }


def _info_of(cursor: duckdb.DuckDBPyConnection, item: Item) -> dict[str, Any]:
    return {
        "name": item.file.name,
        "bytes": _size(item.file),
        "version": _one(cursor, f'SELECT max(version) FROM "{item.name}".migrations')[0],  # noqa: S608
        "rows": {
            table: _one(cursor, f'SELECT count(*) FROM "{item.name}".{table}')[0]  # noqa: S608
            for table in item.tables
        },
    }


def back_up(folder: "Folder", databases: "Databases", target: Path, progress: "Callable[[int, int], None]") -> Path:
    """Copy a store into a new folder while it goes on: what was committed before this began, and nothing half.

    The main tables are copied first and content after them: content may then be ahead, never behind. The folder has
    its name only when it is whole.

    Raises:
        StoreError: The target isn't empty, or the copy can't be made; then there is nothing of it.
    """
    if target.exists() and (not target.is_dir() or any(target.iterdir())):
        raise StoreError(f"{target} is there already. A backup goes into a new folder: give another name.")
    everything = items(folder, databases)
    part = target.parent / f".{target.name}.{os.getpid()}.part"
    try:
        _demand_room(target.parent, sum(_size(item.file) for item in everything))
        part.mkdir(mode=0o700, parents=True)
        (part / CONTENT_FOLDER).mkdir(mode=0o700)
        for number, item in enumerate(everything):
            progress(number, len(everything))
            copy = part / (MAIN_FILE if item.name == STORE else Path(CONTENT_FOLDER) / item.file.name)
            with databases.cursor() as cursor:
                copy_database(cursor, item, copy)
        _sync(part)
        if target.exists():
            target.rmdir()
        part.rename(target)
    except OSError as error:
        raise StoreError(f"{target} could not be written: {error.strerror}. Give another folder.") from error
    finally:
        shutil.rmtree(part, ignore_errors=True)
    progress(len(everything), len(everything))
    return target


def copy_database(cursor: duckdb.DuckDBPyConnection, item: Item, copy: Path) -> None:
    """Write what a reader sees of one file into a new one, complete and without a log.

    Raises:
        StoreError: It can't be read or written.
    """
    name = f"copy_of_{item.name}_{os.getpid()}"
    try:
        cursor.execute(attach_text(name, copy, rows=ROWS_OF_MAIN if item.name == STORE else ROWS_OF_CONTENT))
        try:
            cursor.execute(f'COPY FROM DATABASE "{item.name}" TO "{name}"')
            cursor.execute(f'CHECKPOINT "{name}"')
        finally:
            cursor.execute(f"USE {STORE}")
            cursor.execute(f'DETACH "{name}"')
    except duckdb.Error as error:
        raise translate(error, copy) from error
    close_to_others(copy)


def vacuum(folder: "Folder", databases: "Databases", progress: "Callable[[int, int], None]") -> dict[str, int]:
    """Write every file anew, without what was deleted: the only way in which bytes leave a DuckDB file.

    For the writer's thread, so that nothing is committed meanwhile; readers go on until the new files are put in place.

    Returns:
        ``before`` and ``after``: bytes of all files, both with nothing in their logs. A log holds a row in fewer bytes
        than a file does, so that a small store would seem to grow.

    Raises:
        StoreError: A file can't be written anew; those before it were.
    """
    everything = items(folder, databases)
    for item in everything:
        with suppress(duckdb.Error):  # the copy reads what is in a log too
            databases.writer.execute(f'CHECKPOINT "{item.name}"')
    before = sum(_size(item.file) for item in everything)
    for number, item in enumerate(everything):
        progress(number, len(everything))
        _rewrite(databases, item)
    progress(len(everything), len(everything))
    return {"before": before, "after": sum(_size(item.file) for item in everything)}


def _rewrite(databases: "Databases", item: Item) -> None:
    copy = item.file.with_suffix(".new")
    copy.unlink(missing_ok=True)
    try:
        _demand_room(item.file.parent, _size(item.file))
        with databases.cursor() as cursor:
            copy_database(cursor, item, copy)
        sync(copy)
        with databases.closed():
            item.file.with_name(item.file.name + ".wal").unlink(missing_ok=True)
            copy.replace(item.file)
            sync(item.file.parent)
    finally:
        copy.unlink(missing_ok=True)


def _demand_room(folder: Path, size: int) -> None:
    room = _free(folder)
    if room < size + RESERVE_BYTES:
        raise StoreFullError(
            f"{folder} has {room // 2**20} MiB free; the copy may need {size // 2**20}, and {RESERVE_BYTES // 2**20} "
            "are kept in reserve. Make room, then try again."
        )


def _free(folder: Path) -> int:
    while not folder.exists():
        folder = folder.parent
    return shutil.disk_usage(folder).free


def _sync(folder: Path) -> None:
    for path in (*folder.rglob("*"), folder):
        sync(path)


def _size(file: Path) -> int:
    paths = (file, file.with_name(file.name + ".wal"))
    return sum(path.stat().st_size for path in paths if path.exists())


def _one(cursor: duckdb.DuckDBPyConnection, sql: str) -> Any:
    return cursor.execute(sql).fetchall()[0]


def _iso(time: dt.datetime | None) -> str | None:
    return None if time is None else time.replace(tzinfo=dt.timezone.utc).isoformat().replace("+00:00", "Z")
