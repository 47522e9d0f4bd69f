"""What `run` and `resume` have in common: a display, a training, and what is said when it has ended."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from .displays import PlainDisplay, QuietDisplay
from .output import print_document, standard_output

if TYPE_CHECKING:
    from ..core.engine.launch import Display, Outcome


def train(begin: Callable[[Display], Outcome], quiet: bool, plain: bool, as_json: bool) -> None:
    """Train under the eyes of a display, then say how it ended. Raises typer.Exit with the exit code.

    An error of the training carries notes: the last checkpoint, and the command that goes on.
    """
    from .console import say

    display = _display(quiet, plain)
    with standard_output(reserved=as_json):
        try:
            outcome = begin(display)
        except Exception as error:
            for note in _way_on(display.directory):
                error.add_note(note)
            raise
        finally:
            display.close()
        if not quiet:
            say(_summary(outcome))
    if as_json:
        print_document(outcome.to_json())
    raise typer.Exit(outcome.exit_code)


def _display(quiet: bool, plain: bool) -> QuietDisplay:
    """The display that fits where stderr leads to: live on a terminal, else one line for each interval."""
    if quiet:
        return QuietDisplay()
    if plain or not sys.stderr.isatty() or os.environ.get("TERM", "dumb") in ("dumb", "unknown"):
        return PlainDisplay()
    from .console_live import LiveDisplay

    return LiveDisplay()


def _way_on(directory: Path | None) -> list[str]:
    """What is left of a run that has failed; nothing if it never began."""
    if directory is None:
        return []
    from ..core.engine.checkpoint import newest_valid

    newest, _ = newest_valid(directory / "checkpoints")
    last = newest.path if newest else "none yet: it would begin anew"
    return [
        f"run:              {directory}",
        f"last checkpoint:  {last}",
        f"go on with:       trainctl resume {directory}",
    ]


def _summary(outcome: Outcome) -> list[str]:
    """How it ended, where its files are, and what can be typed next."""
    run = outcome.run
    if outcome.already_complete:
        return [f"{run} is finished: {outcome.total_steps:,} steps. Nothing to resume.", *_commands(outcome)]
    ended = {
        "complete": f"complete: {outcome.total_steps:,} steps",
        "preempted": f"preempted after {outcome.total_steps:,} steps, in stage {outcome.stage!r}",
        "interrupted": f"interrupted after {outcome.total_steps:,} steps, in stage {outcome.stage!r}",
    }[outcome.status]
    saved = (
        f"checkpoint  {outcome.checkpoint}" if outcome.checkpoint else "no checkpoint was saved: save_interval is None"
    )
    return [ended, f"run         {run}", saved, *_commands(outcome)]


def _commands(outcome: Outcome) -> list[str]:
    unfinished = [f"go on       trainctl resume {outcome.run}"] if outcome.status != "complete" else []
    evaluate = [f"evaluate    trainctl evaluate {outcome.run}"] if outcome.checkpoint else []
    return [*unfinished, *evaluate, f"watch       tensorboard --logdir {outcome.run.parent}"]
