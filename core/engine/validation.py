"""Validator: plays an experiment's validation episodes while it trains, and moves no bit of the training."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import torch
from torch import nn

from ..errors import ExperimentError
from ..experiment import EnvironmentSource, Experiment
from ..metrics import LoggingPackage, ScalarMeanTracker
from ..settings import ResolvedSettings
from ..validation import Validation
from .building import environment_of_stage
from .environments import Environments, build_environments, is_same_space
from .evaluation import EvaluationStopped, evaluate, summarize
from .progress import Progress
from .workers import WorkerGroup


class NoValidation:
    """For an experiment that names none.

    owed: whether a validation was stopped before its end, and has to be made before anything else.
    """

    owed = False

    def is_due(self, progress: Progress, settings: ResolvedSettings) -> bool:
        """Never."""
        return False

    def validate(
        self, progress: Progress, stage: str, should_log: bool, stop_requested: Callable[[], bool]
    ) -> LoggingPackage | None:
        """Never called, since it is never due."""
        raise ExperimentError("the experiment names no validation", "give the Experiment validation=Validation(...)")

    def shown_with(self, interval: ScalarMeanTracker) -> ScalarMeanTracker:
        """The interval as it is."""
        return interval

    def about(self, total_steps: int) -> dict[str, Any]:
        """Nothing to tell."""
        return {}

    def state_dict(self) -> dict[str, Any]:
        """Nothing to save."""
        return {}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Nothing to go on from."""


class Validator(NoValidation):
    """Plays the episodes on the first worker, while the others wait, and tells all the means.

    It counts its own steps: a checkpoint that was written because the run was preempted moves no later validation.
    """

    def __init__(self, experiment: Experiment, validation: Validation, model: nn.Module, workers: WorkerGroup) -> None:
        self.experiment, self.validation, self.model, self.workers = experiment, validation, model, workers
        self.last_steps = 0
        self.last_means: dict[str, float] = {}
        self.pending: dict[str, list[float]] = {}  # sums and counts that no criterion has seen so far

    def is_due(self, progress: Progress, settings: ResolvedSettings) -> bool:
        """At the stage's end, and when enough steps were taken since the last time and the stage's beginning."""
        every = self.validation.every or settings.save_interval
        if every is None or progress.stage_ended is not None:
            return every is not None
        since = max(self.last_steps, progress.total_steps - progress.stage_steps)
        return 0 < every <= progress.total_steps - since

    def validate(
        self, progress: Progress, stage: str, should_log: bool, stop_requested: Callable[[], bool]
    ) -> LoggingPackage | None:
        """Play, and remember the means for the checkpoint and for the criterion.

        None: somebody asked to stop, and the validation is owed.
        """
        began = time.perf_counter()
        own = self._play(progress.stage_index, stop_requested) if self.workers.is_first else {}
        found = self.workers.from_first(own)
        self.owed = found is None
        if found is None:
            return None
        tracker = ScalarMeanTracker()
        tracker.add_scalars({tag: mean for tag, (mean, _) in found.items()}, {tag: n for tag, (_, n) in found.items()})
        self.pending = tracker.sums_and_counts()
        self.last_steps = progress.total_steps
        self.last_means = {tag: mean for tag, (mean, _) in found.items()}
        return LoggingPackage(
            kind="valid",
            stage=stage,
            stage_index=progress.stage_index,
            total_steps=progress.total_steps,
            stage_steps=progress.stage_steps,
            means=self.last_means,
            counts=tracker.counts(),
            wall_seconds=time.perf_counter() - began,
            should_log=should_log,
        )

    def shown_with(self, interval: ScalarMeanTracker) -> ScalarMeanTracker:
        """The interval and what was validated since the last one that a criterion was asked about."""
        if "episode/return" in interval.means():  # only then the criterion is asked
            interval.add_sums_and_counts(self.pending)
            self.pending = {}
        return interval

    def about(self, total_steps: int) -> dict[str, Any]:
        """For the manifest of the checkpoint at so many steps: what its model has reached, if it was validated."""
        if self.last_steps != total_steps or not self.last_means:
            return {}
        ranked_by = {"metric": self.validation.metric, "lower_is_better": self.validation.lower_is_better}
        means = {tag: mean for tag, mean in self.last_means.items() if mean - mean == 0}  # JSON has no NaN
        return {"validation": {**ranked_by, "means": means}}

    def state_dict(self) -> dict[str, Any]:
        """When it played last, and what no criterion has seen."""
        return {"last_steps": self.last_steps, "pending": self.pending, "owed": self.owed}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from there; {} means that it has never played."""
        self.last_steps, self.pending = state.get("last_steps", 0), state.get("pending", {})
        self.owed = state.get("owed", False)

    def _play(self, stage_index: int, stop_requested: Callable[[], bool]) -> dict[str, tuple[float, float]] | None:
        """Tag -> mean and number of episodes behind it; None if somebody asked to stop."""
        source = validation_environment(self.experiment, stage_index)
        device = next(self.model.parameters(), torch.zeros(())).device
        count, seed = self.validation.episodes, self.validation.seed
        try:
            episodes = evaluate(self.model, source, count, seed, device, stop_requested=stop_requested)
        except EvaluationStopped:
            return None
        means = {name: found.mean for name, found in summarize(episodes).items()}
        behind = {name: sum(name in episode.metrics for episode in episodes) or len(episodes) for name in means}
        return {f"valid/{name}": (mean, float(behind[name])) for name, mean in means.items()}


def validation_environment(experiment: Experiment, stage_index: int) -> EnvironmentSource:
    """What is played when a checkpoint of this stage is validated or evaluated."""
    own = experiment.validation.environment if experiment.validation else None
    return environment_of_stage(experiment, stage_index).source if own is None else own


def validator_of(
    experiment: Experiment, environments: Environments, model: nn.Module, workers: WorkerGroup
) -> NoValidation:
    """The validator of an experiment. Refuses validation environments whose spaces the model does not fit."""
    validation = experiment.validation
    if validation is None:
        return NoValidation()
    if validation.environment is not None:
        _check(validation, validation.environment, environments)
    return Validator(experiment, validation, model, workers)


def _check(validation: Validation, source: EnvironmentSource, environments: Environments) -> None:
    probe = build_environments(source, range(1), 0, "probe")
    try:
        for name in ("observation_space", "action_space"):
            found, wanted = getattr(probe, name), getattr(environments, name)
            if not is_same_space(found, wanted):
                text = f"the validation environments have the {name} {found}, those of the training {wanted}"
                raise ExperimentError([validation.fault("environment", text, "one model acts in both")])
    finally:
        probe.close()
