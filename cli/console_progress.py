"""A progress bar on stderr for what takes a while and is no training."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn


@contextlib.contextmanager
def progress_bar(what: str, total: int, visible: bool = True) -> Iterator[Callable[[int], None]]:
    """Within this context a bar is there; call what it gives with the number of things that are done."""
    words, times = [TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn()], [TimeElapsedColumn()]
    console = Console(stderr=True)
    with Progress(
        *words, *times, TimeRemainingColumn(), console=console, disable=not (visible and console.is_terminal)
    ) as bar:
        task = bar.add_task(what, total=total)
        yield lambda done: bar.update(task, completed=done)
