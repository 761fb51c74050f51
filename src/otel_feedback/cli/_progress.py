"""Signs of life on a terminal for what takes longer than a person expects; nothing where no terminal is."""

import contextlib
from collections.abc import Callable, Iterator

from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from otel_feedback.cli import _show


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
def show_waiting(what: str) -> Iterator[None]:
    """Show on stderr that something goes on whose length nobody knows."""
    console = _show.console(stderr=True)
    with console.status(_show.plain(what)) if console.is_terminal else contextlib.nullcontext():
        yield
