"""Signs of life on a terminal for what takes longer than a person expects; nothing where no terminal is."""

import contextlib
import time
from collections.abc import Callable, Iterator
from typing import Final

from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from otel_feedback.cli import _show

PATIENCE: Final = 1.0
"""Seconds in which nobody expects a sign."""


@contextlib.contextmanager
def show_progress(what: str) -> Iterator[Callable[[int, int], None]]:
    """Show a bar on stderr, which is gone afterwards; gives what is told how much is done, and of how much."""
    console = _show.console(stderr=True)
    columns = (TextColumn(what, markup=False), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as progress:
        task = progress.add_task(what, total=None)

        def tell(done: int, everything: int) -> None:
            progress.update(task, completed=done, total=everything)

        yield tell


@contextlib.contextmanager
def show_pages(what: str) -> Iterator[Callable[[str], None]]:
    """Show a bar without an end on stderr for what takes more than a second; gives what is told how far it is."""
    console = _show.console(stderr=True)
    columns = (TextColumn(what, markup=False), BarColumn(), TextColumn("{task.description}", markup=False))
    progress = Progress(*columns, TimeElapsedColumn(), console=console, transient=True)
    task = progress.add_task("", total=None)
    began = time.monotonic()

    def tell(how_far: str) -> None:
        progress.update(task, description=how_far)
        if console.is_terminal and time.monotonic() - began > PATIENCE:
            progress.start()

    try:
        yield tell
    finally:
        if progress.live.is_started:
            progress.stop()


@contextlib.contextmanager
def show_waiting(what: str) -> Iterator[None]:
    """Show on stderr that something goes on whose length nobody knows."""
    console = _show.console(stderr=True)
    with console.status(_show.plain(what)) if console.is_terminal else contextlib.nullcontext():
        yield
