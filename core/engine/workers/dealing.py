"""What each worker gets of an experiment: environments, their seeds, and its part of every batch."""

from __future__ import annotations

from typing import Any, NamedTuple

from ...errors import UsageError
from ...experiment import Experiment
from ...shares import evenly_distributed_ranges
from ..building import environment_of_stage
from ..seeding import derived_seed


class Batches(NamedTuple):
    """Steps of a rollout and of one of its minibatches in a stage, for a model without memory."""

    stage: str
    rollout: int
    minibatch: int


class Share(NamedTuple):
    """One worker's. seeds: those of its environments' first episodes."""

    worker: int
    environments: range
    seeds: list[int]
    batches: list[Batches]

    def to_json(self) -> dict[str, Any]:
        """For `--json`."""
        batches = [one._asdict() for one in self.batches]
        return {**self._asdict(), "environments": list(self.environments), "batches": batches}


def deal(num_envs: int, workers: int) -> list[range]:
    """The global indices of each worker's environments. Raises `UsageError` if a worker would get none."""
    if num_envs < workers:
        text = f"{num_envs} environments cannot be dealt to {workers} workers"
        raise UsageError(text, "start fewer workers, or give the experiment more num_envs")
    return evenly_distributed_ranges(num_envs, workers)


def shares(experiment: Experiment, workers: int, seed: int) -> list[Share]:
    """What each of so many workers gets. Raises `UsageError` if there are more workers than environments."""
    purpose = environment_of_stage(experiment, 0).purpose
    return [
        Share(
            rank, indices, [derived_seed(seed, purpose, index, 0) for index in indices], _batches(experiment, indices)
        )
        for rank, indices in enumerate(deal(experiment.num_envs, workers))
    ]


def _batches(experiment: Experiment, indices: range) -> list[Batches]:
    found = []
    for stage, name in zip(experiment.pipeline, experiment.pipeline.stage_names(), strict=True):
        settings = experiment.pipeline.settings_of(stage)
        steps = settings.num_steps * len(indices)
        found.append(Batches(name, steps, -(-steps // settings.num_mini_batch)))
    return found
