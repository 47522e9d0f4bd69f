"""`trainctl tail`: watch a run that trains elsewhere."""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from .completion import complete_runs

if TYPE_CHECKING:
    from ..core.engine.saving.run_directory import RunDirectory

_LOCK_QUESTION = 3.0  # seconds between two questions whether the training's process lives: each takes half a second


def tail(
    run: Annotated[
        Path,
        typer.Argument(metavar="RUN", help="A run directory.", show_default=False, autocompletion=complete_runs),
    ],
    lines: Annotated[int, typer.Option(metavar="N", min=0, help="How many past intervals to begin with.")] = 10,
) -> None:
    """Show each interval of a run as it closes, whoever trains it, until the training ends.

    \b
    trainctl tail runs/first
    trainctl tail runs/first --lines 100
    """
    from ..core.engine.commands.run_listing import summary_of
    from ..core.engine.reporting.metrics_file import follow
    from ..core.engine.saving.run_directory import RunDirectory
    from .displays import interval_line

    directory = RunDirectory.of_checkpoint(run)
    for package in follow(directory.metrics, _is_over(directory), lines):
        typer.echo(interval_line(package))
    ended = summary_of(directory, datetime.now(UTC))
    typer.echo(f"{directory.path}: {ended.state}, {ended.total_steps:,} steps")


def _is_over(directory: RunDirectory) -> Callable[[], bool]:
    """Whether nobody trains this run, asked of its record each time and of its lock now and then."""
    from ..core.engine.commands.run_listing import state_of
    from ..core.engine.saving.run_directory import RUNNING, last_status

    asked = -_LOCK_QUESTION

    def is_over() -> bool:
        nonlocal asked
        record = directory.read_run()
        if last_status(record) not in ("", RUNNING):
            return True
        if time.monotonic() - asked < _LOCK_QUESTION:
            return False
        asked = time.monotonic()
        return state_of(directory, record) != RUNNING

    return is_over
