"""What a run left behind, made useful again: its experiment, its checkpoints, its model."""

from __future__ import annotations

import difflib
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import torch
from torch import nn

from ...errors import CheckpointError
from ...experiment import EnvironmentSource, Experiment
from ...experiment_file import LoadedExperiment
from ...validation import Validation
from ..adjustments import Adjustments, load_adjusted
from ..building import build_model, environment_of_stage, load_model
from ..device import prepare
from ..environments import build_environments
from ..playing.evaluation import Summary, evaluate, summarize
from ..playing.validation import validation_environment
from .checkpoint import NAME, Checkpoint, list_checkpoints, newest_valid
from .checkpoint_manifest import MANIFEST
from .run_directory import RunDirectory

Warn = Callable[[str], None]


def load_run(directory: RunDirectory) -> LoadedExperiment:
    """The experiment of a run, from the copy of its source."""
    record = directory.read_run()
    adjustments = Adjustments(**record.get("adjustments", {}))
    return load_adjusted(directory.experiment / record["experiment"], record["settings"], adjustments)


def chosen_checkpoint(path: Path, directory: RunDirectory, warn: Warn) -> Checkpoint | None:
    """The checkpoint that a path means: itself, which must be valid then; or of a run the newest valid one, if any.

    Raises CheckpointError for a damaged one, and for a run with nothing but damaged ones.
    """
    if path.resolve() not in (directory.path.resolve(), directory.checkpoints.resolve()):
        if not ((path / MANIFEST).is_file() or (path.is_dir() and NAME.fullmatch(path.name))):
            raise CheckpointError(f"there is no checkpoint {path}", _near(path, directory))
        return Checkpoint.open(path)
    checkpoint, damaged = newest_valid(directory.checkpoints)
    if checkpoint is not None:
        for bad, reason in damaged:
            warn(f"{bad.name} is damaged ({reason}) — using {checkpoint.path.name}")
    elif damaged:
        reasons = "\n".join(f"  {bad.name}: {reason}" for bad, reason in damaged)
        raise CheckpointError(
            f"every checkpoint in {directory.checkpoints} is damaged:\n{reasons}", "train anew, under another --name"
        )
    return checkpoint


def _near(path: Path, directory: RunDirectory) -> str:
    names = [listed.name for listed in list_checkpoints(directory.checkpoints)]
    near = sorted(difflib.get_close_matches(path.name, names, n=5, cutoff=0.0))
    return f"of the {len(names)} in {directory.checkpoints} the nearest are: {', '.join(near) or 'none'}"


class TrainedModel(NamedTuple):
    """The model of a checkpoint, ready to act, the environments of its stage, the device it is on, its experiment."""

    checkpoint: Checkpoint
    model: nn.Module
    environment: EnvironmentSource
    device: torch.device
    experiment: Experiment


def checkpoint_at(path: Path, warn: Warn = warnings.warn) -> Checkpoint:
    """The checkpoint that a path means: itself, wherever it lies, or of a run the newest valid one.

    warn: told of newer ones that are damaged.
    Raises CheckpointError for a damaged one, and where there is none.
    """
    if (path / MANIFEST).is_file():
        return Checkpoint.open(path)
    directory = RunDirectory.of_checkpoint(path)
    checkpoint = chosen_checkpoint(path, directory, warn)
    if checkpoint is None:
        raise CheckpointError(
            f"{directory.path} has no checkpoint to take a model from", "train it first, or name another run"
        )
    return checkpoint


def open_model(
    path: Path, device: str, loaded: LoadedExperiment | None = None, warn: Warn = warnings.warn
) -> TrainedModel:
    """The model that a path means: that of a checkpoint, or of a run's newest valid one.

    loaded: the experiment it is of; None: that of the run in which it lies, whose copied source is executed.
    """
    checkpoint, prepared = checkpoint_at(path, warn), prepare(device, False)
    loaded = loaded or load_run(_run_of(path))
    return TrainedModel(checkpoint, *restored_model(loaded, checkpoint, prepared), prepared, loaded.experiment)


def _run_of(checkpoint: Path) -> RunDirectory:
    try:
        return RunDirectory.of_checkpoint(checkpoint)
    except CheckpointError as error:
        raise CheckpointError(error.message, "say of which experiment it is: --experiment FILE.py") from error


class Evaluated(NamedTuple):
    """A checkpoint, how many episodes its model has played, and what came of them."""

    checkpoint: Checkpoint
    episodes: int
    summaries: dict[str, Summary]


def evaluate_checkpoint(
    path: Path,
    episodes: int | None,
    deterministic: bool,
    seed: int | None,
    device: str,
    loaded: LoadedExperiment | None = None,
    warn: Warn = warnings.warn,
) -> Evaluated:
    """Play episodes with the model of a checkpoint (of a run: the newest valid one).

    They are played in the experiment's validation environments or, if it names none, in those of the checkpoint's
    stage. episodes, seed: None: those of the validation, so that its numbers come out again; without one 100 and 0.
    loaded: the experiment it is of; None: that of the run in which it lies.
    """
    checkpoint, model, _, prepared, experiment = open_model(path, device, loaded, warn)
    source = validation_environment(experiment, checkpoint.about.get("stage_index", 0))
    usual = experiment.validation or Validation(episodes=100)
    episodes = usual.episodes if episodes is None else episodes
    seed = usual.seed if seed is None else seed
    played = evaluate(model, source, episodes, seed, prepared, deterministic)
    return Evaluated(checkpoint, episodes, summarize(played))


def restored_model(
    loaded: LoadedExperiment, checkpoint: Checkpoint, device: torch.device
) -> tuple[nn.Module, EnvironmentSource]:
    """The model of a checkpoint, ready to act, and the environments of the stage it was written in."""
    source = environment_at(loaded, checkpoint)
    probe = build_environments(source, range(1), 0, "probe")
    model = build_model(loaded.experiment, probe.observation_space, probe.action_space, 0)
    probe.close()
    load_model(model, checkpoint)
    return model.to(device).eval(), source


def environment_at(loaded: LoadedExperiment, checkpoint: Checkpoint) -> EnvironmentSource:
    """The environments of the stage in which a checkpoint was written."""
    return environment_of_stage(loaded.experiment, checkpoint.about.get("stage_index", 0)).source
