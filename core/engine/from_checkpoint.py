"""What a run left behind, made useful again: its experiment, its checkpoints, its model."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import torch
from torch import nn

from ..errors import CheckpointError
from ..experiment import EnvironmentSource
from ..experiment_file import LoadedExperiment
from .adjustments import Adjustments, load_adjusted
from .building import build_model, environment_of_stage, load_model
from .checkpoint import Checkpoint, newest_valid
from .device import prepare
from .environments import build_environments
from .evaluation import Summary, evaluate, summarize
from .run_directory import RunDirectory


def load_run(directory: RunDirectory) -> LoadedExperiment:
    """The experiment of a run, from the copy of its source."""
    record = directory.read_run()
    adjustments = Adjustments(**record.get("adjustments", {}))
    return load_adjusted(directory.experiment / record["experiment"], record["settings"], adjustments)


def chosen_checkpoint(path: Path, directory: RunDirectory, warn: Callable[[str], None]) -> Checkpoint | None:
    """The checkpoint that a path means: itself, which must be valid then; or of a run the newest valid one, if any.

    Raises CheckpointError for a damaged one, and for a run with nothing but damaged ones.
    """
    if path.resolve() not in (directory.path.resolve(), directory.checkpoints.resolve()):
        return Checkpoint.open(path)
    checkpoint, damaged = newest_valid(directory.checkpoints)
    for bad, reason in damaged:
        instead = f"using {checkpoint.path.name}" if checkpoint else "there is none before it"
        warn(f"{bad.name} is damaged ({reason}) — {instead}")
    if checkpoint is None and damaged:
        raise CheckpointError(f"every checkpoint in {directory.checkpoints} is damaged", "see the reasons above")
    return checkpoint


class TrainedModel(NamedTuple):
    """The model of a checkpoint, ready to act, the environments of its stage, and the device it is on."""

    checkpoint: Checkpoint
    model: nn.Module
    environment: EnvironmentSource
    device: torch.device


def open_model(path: Path, device: str) -> TrainedModel:
    """The model that a path means: that of a checkpoint, or of a run's newest valid one."""
    directory = RunDirectory.of_checkpoint(path)
    checkpoint = chosen_checkpoint(path, directory, lambda text: None)
    if checkpoint is None:
        raise CheckpointError(f"{directory.path} has no checkpoint to evaluate", "train it first, or name another run")
    loaded, prepared = load_run(directory), prepare(device, False)
    return TrainedModel(checkpoint, *restored_model(loaded, checkpoint, prepared), prepared)


def evaluate_checkpoint(
    path: Path, episodes: int, deterministic: bool, seed: int, device: str
) -> tuple[Checkpoint, dict[str, Summary]]:
    """Play episodes with the model of a checkpoint (of a run: the newest valid one), in its stage's environment."""
    checkpoint, model, environment, prepared = open_model(path, device)
    return checkpoint, summarize(evaluate(model, environment, episodes, seed, prepared, deterministic))


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
