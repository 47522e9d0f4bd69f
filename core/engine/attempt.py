"""An attempt to train: everything is in place, the run directory says how it goes, however it ends."""

from __future__ import annotations

import contextlib
import gc
from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol

from ..description import describe
from ..errors import TrainctlError
from ..experiment_file import LoadedExperiment
from .early_stopping import StageCriterion
from .learning.compiler import Compiler
from .learning.non_finite import FailedUpdate, write_dump
from .learning.precision import is_slow_in_bfloat16, learn_in_bfloat16
from .options import Outcome
from .progress import Progress
from .reporting.profile import profiled
from .reporting.reporting import JsonLinesSink, MetricSink, NoSink, Sinks
from .reporting.tensorboard_sink import TensorBoardSink
from .reporting.wandb_sink import wandb_sink
from .saving.checkpoint import checkpoint_name, newest_valid
from .saving.run_directory import RunDirectory
from .trainer import Trainer
from .workers.signals import StopRequest


class Display(MetricSink, Protocol):
    """A sink that a person watches."""

    def begin(self, directory: Path, description: dict[str, Any], progress: Progress, message: str) -> None:
        """A training begins or goes on. `progress` is live: it may be read at any time."""

    def warn(self, text: str) -> None:
        """Something the user should know, while the training goes on."""


class NoDisplay(NoSink):
    """Nobody watches: the display of all workers but the first."""

    def begin(self, directory: Path, description: dict[str, Any], progress: Progress, message: str) -> None:
        """Nobody watches."""

    def warn(self, text: str) -> None:
        """Nobody watches."""


def train(
    directory: RunDirectory,
    trainer: Trainer,
    loaded: LoadedExperiment,
    display: Display,
    message: str,
    checkpoint: str | None,
    guarantee: str,
    request: StopRequest,
    profile: int = 0,
) -> Outcome:
    """Train with everything in place; the attempt is recorded however it ends."""
    workers = trainer.workers
    request.echo_seconds = 0.0 if workers.world_size == 1 else 2.0
    trainer.stop_requested = lambda: request.requested
    trainer.warn = trainer.failures.warn = display.warn
    trainer.failures.record = lambda failure: directory.record_failure(failure, trainer.progress.stage_index)
    trainer.checkpoints = directory.checkpoints
    record = directory.read_run()
    trainer.keep = record.get("keep")

    def note(text: str) -> None:
        display.note("resources", text, trainer.progress.total_steps)

    compute_as(record, trainer, note, display.warn)
    trainer.dump = lambda failed: _dump(failed, directory, trainer)
    trainer.about |= {"guarantee": guarantee, "device": trainer.device.type}
    _warn_of_criteria(trainer)
    _warn_of_minibatches(trainer)
    if checkpoint is None:
        trainer.sinks = sinks_of(directory, display, 0, trainer)
        trainer.sinks.load_state_dict({})
    with _attempt(directory, trainer, checkpoint, guarantee) as ended:
        if workers.is_first:
            display.begin(directory.path, describe(loaded.experiment), trainer.progress, message)
            note(_resources(trainer))
        gc.freeze()  # what is there by now stays: looking through it again and again takes some percent of the time
        with request.listening(), profiled(trainer, profile, directory.path, note, display.warn):
            status = "complete" if trainer.train() else request.status
        workers.barrier()
        _check_saved(trainer)
        ended["status"] = status
    return outcome_of(directory, trainer, ended["status"])


def _check_saved(trainer: Trainer) -> None:
    """Refuse to call a training complete, or saved, whose last steps the disk did not take."""
    steps, index = trainer.progress.total_steps, min(trainer.progress.stage_index, len(trainer.stages) - 1)
    is_wanted = trainer.pipeline.settings_of(trainer.stages[index]).save_interval is not None
    if is_wanted and steps > 0 and not (trainer.checkpoints / checkpoint_name(steps)).is_dir():
        newest, _ = newest_valid(trainer.checkpoints)
        raise TrainctlError(
            f"the last {steps - (newest.step if newest else 0):,} of {steps:,} steps are in no checkpoint",
            "see the warnings, make room, and go on from the last checkpoint",
        )


def compute_as(
    record: dict[str, Any], trainer: Trainer, note: Callable[[str], None], warn: Callable[[str], None]
) -> None:
    """Compute in the way that `run.json` says, on which the bits depend."""
    trainer.learner.threads = trainer.collector.threads = record["threads"]
    if record.get("bfloat16"):
        learn_in_bfloat16(trainer.model)
        if is_slow_in_bfloat16(trainer.device):
            warn("--bfloat16 makes learning slower here: this processor can only imitate it")
    if record.get("compile"):
        compiler = Compiler(note, warn)
        trainer.learner.compile(compiler)
        trainer.collector.compile(compiler)


def _resources(trainer: Trainer) -> str:
    """Which processes and how many threads do the work; each worker has as many."""
    threads = trainer.learner.threads
    learning = f"learning with {threads} thread{'s' if threads > 1 else ''}"
    return f"environments {trainer.collector.environments.where}, {learning}"


@contextlib.contextmanager
def _attempt(directory: RunDirectory, trainer: Trainer, checkpoint: str | None, guarantee: str) -> Any:
    """Record in `run.json` that a training goes on, and how it ended."""
    first, progress = trainer.workers.is_first, trainer.progress
    if first:
        directory.begin_attempt(from_checkpoint=checkpoint, guarantee=guarantee)
    ended: dict[str, Any] = {"status": "failed"}
    try:
        yield ended
    except Exception as error:
        ended |= {"exit_code": getattr(error, "exit_code", 1), "error": str(error)}
        raise
    finally:
        try:
            trainer.close()
        finally:
            if first:
                position = {"total_steps": progress.total_steps, "stage": trainer.stage_name, "stages": progress.stages}
                directory.end_attempt(**{**ended, **position})


def _warn_of_criteria(trainer: Trainer) -> None:
    """What a later resume could not restore is said when there is still time to change it."""
    for stage, name in zip(trainer.stages, trainer.stage_names, strict=True):
        criterion = stage.early_stopping_criterion
        for problem in StageCriterion(criterion, trainer.workers).problems if criterion else ():
            trainer.warn(f"stage {name!r}: {problem}, so a resumed run may stop it elsewhere")


def _warn_of_minibatches(trainer: Trainer) -> None:
    """A model with memory learns from whole sequences, so there may be fewer minibatches than asked for."""
    sequences = min(trainer.environments_per_worker)
    for stage, name in zip(trainer.stages, trainer.stage_names, strict=True):
        asked = trainer.pipeline.settings_of(stage).num_mini_batch
        if trainer.collector.memory is not None and asked > sequences:
            trainer.warn(
                f"stage {name!r}: {sequences} minibatches and not num_mini_batch={asked}: a model with memory learns "
                f"from whole sequences, and a rollout has one for each environment"
            )


def _dump(failed: FailedUpdate, directory: RunDirectory, trainer: Trainer) -> str:
    """Keep an update that was not made; gives the command that repeats it."""
    path, progress = directory.nan_dump / f"worker-{trainer.workers.rank}", trainer.progress
    position = {"total_steps": progress.total_steps, "stage_index": progress.stage_index}
    about = {"stage": trainer.stage_name, **position}
    try:
        write_dump(path, failed, trainer.model, about)
    except OSError as error:
        return f"the update could not be kept: {error}"
    return f"see it again: trainctl debug-dump {directory.nan_dump}"


def sinks_of(directory: RunDirectory, display: Display, start_step: int, trainer: Trainer) -> Sinks:
    """What the first worker writes to, as `run.json` says; the others write nothing."""
    if not trainer.workers.is_first:
        return Sinks([])
    record, experiment = directory.read_run(), trainer.experiment
    parameters = record["parameters"]
    tensorboard = TensorBoardSink(directory.tensorboard, start_step, display.warn)
    if record.get("histograms"):
        tensorboard.histograms = lambda: dict(trainer.model.named_parameters())
    validated = [] if experiment.validation is None else [f"valid/{experiment.validation.metric}"]
    tensorboard.overview()
    tensorboard.hyperparameters(parameters, ["episode/return", "episode/length", *validated])
    tensorboard.source(directory.sources())
    sinks: list[MetricSink] = [JsonLinesSink(directory.metrics, display.warn), tensorboard, display]
    if record.get("films"):
        from .reporting.film_sink import FilmSink  # draws, which takes a while to import

        seen = (trainer.progress, lambda: trainer.model)
        sinks.append(FilmSink(experiment, *seen, tensorboard, display.warn, lambda: trainer.stop_requested()))
    if record.get("wandb"):
        sinks.append(wandb_sink(**record["wandb"], directory=directory.path, parameters=parameters, warn=display.warn))
    return Sinks(sinks)


def outcome_of(directory: RunDirectory, trainer: Trainer, status: str, already_complete: bool = False) -> Outcome:
    """How a training ended, and the checkpoint that is left of it."""
    newest, _ = newest_valid(directory.checkpoints)
    path = None if newest is None else newest.path
    return Outcome(directory.path, status, trainer.progress.total_steps, trainer.stage_name, path, already_complete)
