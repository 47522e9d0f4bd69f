"""From a command to a training: starts runs, resumes them, and says how they ended."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import torch

from ..description import describe
from ..errors import CheckpointError, UsageError
from ..experiment_file import LoadedExperiment, load_experiment, source_files
from .checkpoint import GUARANTEES, Checkpoint, newest_valid, remove_leftovers
from .environments import build_environments
from .evaluation import Summary, evaluate, summarize
from .progress import Progress
from .reporting import JsonLinesSink, MetricSink, Sinks, TensorBoardSink
from .run_directory import RunDirectory, default_name
from .signals import StopRequest
from .trainer import Trainer, build_model
from .workers import SingleWorker


class Display(MetricSink, Protocol):
    """A sink that a person watches."""

    def begin(self, directory: Path, description: dict[str, Any], progress: Progress, message: str) -> None:
        """A training begins or goes on. `progress` is live: it may be read at any time."""

    def warn(self, text: str) -> None:
        """Something the user should know, while the training goes on."""


@dataclass(frozen=True)
class RunOptions:
    """What the command line says about a new run.

    * experiment: the file. settings: `--set` as name -> text.
    * seed: whole number ≥ 0. device: "auto", "cpu", "cuda" or "cuda:i". deterministic: see `prepare`.
    * name: of the run directory; None: made up. runs_dir: where run directories are.
    """

    experiment: Path
    settings: Mapping[str, str] = field(default_factory=dict)
    seed: int = 0
    device: str = "auto"
    deterministic: bool = False
    name: str | None = None
    runs_dir: Path = Path("runs")


@dataclass(frozen=True)
class Outcome:
    """How a training ended: status is "complete", "preempted" or "interrupted"; checkpoint is None if none is there."""

    run: Path
    status: str
    total_steps: int
    stage: str
    checkpoint: Path | None
    already_complete: bool = False

    @property
    def exit_code(self) -> int:
        """0 done · 75 preempted, saved: run again · 130 Ctrl-C, saved."""
        return {"complete": 0, "preempted": 75, "interrupted": 130}[self.status]

    def to_json(self) -> dict[str, Any]:
        """The document that `--json` prints."""
        return {
            "run": str(self.run),
            "status": self.status,
            "total_steps": self.total_steps,
            "stage": self.stage,
            "checkpoint": None if self.checkpoint is None else str(self.checkpoint),
        }


def start(options: RunOptions, display: Display, command: list[str]) -> Outcome:
    """Begin a new run and train it to its end. The experiment is built before anything is written."""
    loaded = load_experiment(options.experiment, options.settings)
    device = prepare(options.device, options.deterministic)
    trainer = Trainer(loaded.experiment, options.seed, device, SingleWorker())
    trainer.build()
    directory = RunDirectory.create(options.runs_dir, options.name or default_name(loaded.path.stem, options.seed))
    with directory.lock():
        directory.copy_experiment(source_files(loaded), loaded.path.parent)
        directory.write_json(directory.pipeline, describe(loaded.experiment))
        directory.record_run(
            command=command,
            experiment=loaded.path.name,
            settings=dict(options.settings),
            parameters={name: repr(value) for name, value in loaded.parameters.items()},
            seed=options.seed,
            device=str(device),
            deterministic=options.deterministic,
            threads=torch.get_num_threads(),
        )
        return _train(directory, trainer, loaded, display, "new run", None, "bit-exact")


def resume(path: Path, display: Display, device: str | None = None) -> Outcome:
    """Go on with a run (its newest valid checkpoint) or with one of its checkpoints; from the start if it has none."""
    directory = RunDirectory.of_checkpoint(path)
    record = directory.read_run()
    with directory.lock():
        remove_leftovers(directory.checkpoints)
        loaded = load_run(directory)
        prepared = prepare(device or record["device"], record["deterministic"], record["threads"])
        trainer = Trainer(loaded.experiment, record["seed"], prepared, SingleWorker())
        checkpoint = _chosen(path, directory, display)
        sinks = _sinks(directory, display, 0 if checkpoint is None else checkpoint.step)
        trainer.sinks = sinks
        if checkpoint is None:
            trainer.build()
            sinks.load_state_dict({})
            return _train(directory, trainer, loaded, display, "no checkpoint yet: from the start", None, "bit-exact")
        problems = trainer.restore(checkpoint)
        guarantee = _guarantee(checkpoint, problems, torch.get_num_threads())
        if trainer.is_finished:
            return _outcome(directory, trainer, "complete", already_complete=True)
        message = f"resuming from {checkpoint.path.name}, guarantee: {guarantee}"
        for problem in problems:
            display.warn(problem)
        return _train(directory, trainer, loaded, display, message, checkpoint.path.name, guarantee)


def load_run(directory: RunDirectory) -> LoadedExperiment:
    """The experiment of a run, from the copy of its source."""
    record = directory.read_run()
    return load_experiment(directory.experiment / record["experiment"], record["settings"])


def prepare(device: str, deterministic: bool, threads: int | None = None) -> torch.device:
    """Choose the device and set what must be set before anything is computed.

    Raises UsageError if CUDA is asked for and absent.
    """
    if deterministic:
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
        torch.use_deterministic_algorithms(True)
        torch.backends.cudnn.benchmark = False
    torch.set_num_threads(threads or 1)
    if device == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        chosen = torch.device(device)
    except RuntimeError:
        raise UsageError(f"there is no device {device!r}", "use auto, cpu, cuda or cuda:0, cuda:1, …") from None
    if chosen.type == "cuda" and not torch.cuda.is_available():
        raise UsageError(f"device {device!r} was asked for, but this torch sees no CUDA GPU", "use --device cpu")
    if chosen.type == "cuda" and (chosen.index or 0) >= torch.cuda.device_count():
        raise UsageError(f"device {device!r} was asked for; there are {torch.cuda.device_count()} GPUs")
    return chosen


def evaluate_checkpoint(
    path: Path, episodes: int, deterministic: bool, seed: int, device: str
) -> tuple[Checkpoint, dict[str, Summary]]:
    """Play episodes with the model of a checkpoint (of a run: the newest valid one), in its last environment."""
    directory = RunDirectory.of_checkpoint(path)
    loaded = load_run(directory)
    checkpoint = _chosen(path, directory, _Silent())
    if checkpoint is None:
        raise CheckpointError(f"{directory.path} has no checkpoint to evaluate", "train it first, or name another run")
    prepared = prepare(device, False)
    source = environment_at(loaded, checkpoint)
    probe = build_environments(source, range(1), seed, "evaluation")
    model = build_model(loaded.experiment, probe.observation_space, probe.action_space, seed).to(prepared)
    probe.close()
    model.load_state_dict(checkpoint.model())
    model.eval()
    played = evaluate(model, source, episodes, seed, prepared, deterministic)
    return checkpoint, summarize(played)


def environment_at(loaded: LoadedExperiment, checkpoint: Checkpoint) -> Any:
    """The environments of the stage a checkpoint was written in."""
    experiment = loaded.experiment
    index = checkpoint.about.get("stage_index", 0)
    own = [stage.environment for stage in experiment.pipeline.pipeline_stages[: index + 1] if stage.environment]
    return own[-1] if own else experiment.environment


def _train(
    directory: RunDirectory,
    trainer: Trainer,
    loaded: LoadedExperiment,
    display: Display,
    message: str,
    checkpoint: str | None,
    guarantee: str,
) -> Outcome:
    request = StopRequest()
    trainer.stop_requested = lambda: request.requested
    trainer.checkpoints = directory.checkpoints
    trainer.about["guarantee"] = guarantee
    if not trainer.sinks.sinks:
        trainer.sinks = _sinks(directory, display, 0)
    directory.begin_attempt(from_checkpoint=checkpoint, guarantee=guarantee)
    status = "failed"
    try:
        display.begin(directory.path, describe(loaded.experiment), trainer.progress, message)
        with request.listening():
            status = "complete" if trainer.train() else request.status
        return _outcome(directory, trainer, status)
    finally:
        trainer.close()
        directory.end_attempt(status, total_steps=trainer.progress.total_steps, stages=trainer.progress.stages)


def _sinks(directory: RunDirectory, display: Display, start_step: int) -> Sinks:
    return Sinks(
        [
            JsonLinesSink(directory.metrics),
            TensorBoardSink(directory.tensorboard, start_step, display.warn),
            display,
        ]
    )


def _chosen(path: Path, directory: RunDirectory, display: Display) -> Checkpoint | None:
    """The checkpoint that a path means. One named by the user must be valid; of a run the newest valid one is taken."""
    if path.resolve() != directory.path.resolve():
        return Checkpoint.open(path)
    checkpoint, damaged = newest_valid(directory.checkpoints)
    for bad, reason in damaged:
        instead = checkpoint.path.name if checkpoint else "the start"
        display.warn(f"{bad.name} is damaged ({reason}) — using {instead}")
    if checkpoint is None and damaged:
        raise CheckpointError(f"every checkpoint in {directory.checkpoints} is damaged", "see the reasons above")
    return checkpoint


def _guarantee(checkpoint: Checkpoint, problems: list[str], threads: int) -> str:
    """The weaker of what the checkpoint promised and what this resume can."""
    now = "exact-state" if problems else "bit-exact"
    return max(checkpoint.about.get("guarantee", "bit-exact"), now, key=GUARANTEES.index)


def _outcome(directory: RunDirectory, trainer: Trainer, status: str, already_complete: bool = False) -> Outcome:
    newest, _ = newest_valid(directory.checkpoints)
    return Outcome(
        directory.path,
        status,
        trainer.progress.total_steps,
        trainer.stage_name,
        None if newest is None else newest.path,
        already_complete,
    )


class _Silent:
    """A display that nobody watches."""

    def __getattr__(self, name: str) -> Callable[..., None]:
        return lambda *args, **kwargs: None
