"""What `run` and `resume` have in common: a display, a training, and what is said when it has ended."""

from __future__ import annotations

import contextlib
import faulthandler
import shlex
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from ..core.errors import EnvironmentFailure, ExperimentError, NonFiniteError, TrainctlError
from .displays import PlainDisplay, QuietDisplay, can_draw
from .failures import users_line
from .output import lasting_output, print_document, standard_output

if TYPE_CHECKING:
    from ..core.engine.launch import Display
    from ..core.engine.options import Outcome
    from ..core.engine.workers.signals import StopRequest
    from ..core.engine.workers.workers import Fleet


def train(
    begin: Callable[[Display, StopRequest], Outcome],
    fleet: Fleet,
    quiet: bool,
    plain: bool,
    as_json: bool,
    experiment: Path | None = None,
) -> None:
    """Train under the eyes of a display, then say how it ended. Raises typer.Exit with the exit code.

    Of a fleet the first worker has a display of its own on the same terminal, so here only warnings are shown. An error
    of the training carries notes: the last checkpoint, and the command that goes on. experiment: the file; None: the
    run's own copy.
    """
    from ..core.engine.workers.signals import StopRequest
    from .console import say

    faulthandler.enable(2)  # what crashes below Python says in which line
    with lasting_output():
        with standard_output(reserved=as_json):
            display = _display(quiet or not fleet.is_single, plain)
            try:
                request = StopRequest()
                # from the first moment on: what takes seconds to import and to build comes after this
                with request.listening() if fleet.is_single else contextlib.nullcontext():
                    outcome = begin(display, request)
            except Exception as error:
                for note in _way_on(error, display.directory, experiment):
                    error.add_note(note)
                raise
            finally:
                display.close()
            from ..core.engine.workers.workers import is_one_of_many

            if not (quiet or is_one_of_many()):  # of several workers the launcher speaks
                say(_summary(outcome, fleet))
        if as_json and not is_one_of_many():
            print_document(outcome.to_json())
    raise typer.Exit(outcome.exit_code)


def _display(quiet: bool, plain: bool) -> QuietDisplay:
    """The display that fits where stderr leads to: live on a terminal, else one line for each interval."""
    if quiet:
        return QuietDisplay()
    if not can_draw(quiet, plain):
        return PlainDisplay()
    from .console_live import LiveDisplay

    return LiveDisplay()


def _way_on(error: Exception, directory: Path | None, experiment: Path | None) -> list[str]:
    """What is left of a run that has failed; nothing if it never began."""
    if directory is None:
        return []
    from ..core.engine.saving.checkpoint import newest_valid

    newest, _ = newest_valid(directory / "checkpoints")
    last = newest.path if newest else "none, so it would begin anew"
    lines = [("run", directory), ("last checkpoint", last), _command_after(error, directory, experiment)]
    return [f"  {label:17}{text}" for label, text in lines]


def _command_after(error: Exception, run: Path, experiment: Path | None) -> tuple[str, str]:
    """The command that goes on. As it was, a run would only repeat a fault of its experiment: it has a copy of it."""
    from ..core.engine.workers.workers import workers_here

    resume = _resume(run, workers_here())
    if isinstance(error, NonFiniteError):
        return "go on with", f"{resume} --set NAME=VALUE --allow-changes"
    if isinstance(error, (ExperimentError, EnvironmentFailure)) or _is_users(error):
        return "once mended", f"{resume} --experiment {shlex.quote(str(experiment or 'FILE'))}"
    return "go on with", resume


def _is_users(error: Exception) -> bool:
    return not isinstance(error, TrainctlError) and users_line(error) is not None


def _summary(outcome: Outcome, fleet: Fleet) -> list[str]:
    """How it ended, where its files are, and what can be typed next."""
    steps, stage = f"{outcome.total_steps:,} steps", f"in stage {outcome.stage!r}"
    if outcome.already_complete:
        return [f"{outcome.run} is finished: {steps}. Nothing to resume.", *_labelled(_commands(outcome, fleet))]
    ended = {
        "complete": f"complete: {steps}",
        "preempted": f"preempted after {steps}, {stage}; run it again to go on",
        "interrupted": f"interrupted after {steps}, {stage}",
    }[outcome.status]
    saved = outcome.checkpoint or "none was saved"
    return ["", ended, *_labelled([("run", outcome.run), ("checkpoint", saved), *_commands(outcome, fleet)])]


def _commands(outcome: Outcome, fleet: Fleet) -> Iterator[tuple[str, str]]:
    if outcome.status != "complete":
        yield "go on", _resume(outcome.run, fleet.nproc)
    if outcome.checkpoint is not None:
        yield "evaluate", _command("evaluate", outcome.run)
    yield "watch", f"tensorboard --logdir {shlex.quote(str(outcome.run.parent))}"


def _resume(run: Path, nproc: int) -> str:
    return _command("resume", run) + ("" if nproc == 1 else f" --nproc {nproc}")


def _command(name: str, run: Path) -> str:
    return f"trainctl {name} --checkpoint {shlex.quote(str(run))}"


def _labelled(lines: Iterable[tuple[str, object]]) -> list[str]:
    return [f"  {label:12}{text}" for label, text in lines]
