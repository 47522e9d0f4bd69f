"""Validator: plays an experiment's validation episodes beside its training, and moves no bit of that."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from ...errors import ExperimentError
from ...experiment import EnvironmentSource, Experiment
from ...metrics import LoggingPackage, ScalarMeanTracker
from ...settings import ResolvedSettings
from ...validation import Validation
from ..building import environment_of_stage
from ..environments import Environments, build_environments, is_same_space
from ..progress import Progress
from ..saving.checkpoint import checkpoint_name
from ..seeding import untouched_global_random_state
from ..workers.workers import WorkerGroup
from .beside import Beside
from .evaluation import EvaluationStopped, evaluate, values_of


class NoValidation:
    """For an experiment that names none.

    * last_steps: total steps at which the last one was begun.
    * is_underway: whether it was begun and its means have not been taken so far.
    """

    last_steps = 0
    is_underway = False

    @property
    def waiting(self) -> list[str]:
        """The checkpoint whose model is being played, by name: nobody knows whether it is the best."""
        return [checkpoint_name(self.last_steps)] if self.is_underway else []

    def is_due(self, settings: ResolvedSettings) -> bool:
        """Never."""
        return False

    def begin(self) -> None:
        """Never called, since it is never due."""
        raise ExperimentError("the experiment names no validation", "give the Experiment validation=Validation(...)")

    def go_on(self) -> None:
        """Nothing was under way."""

    def take(self, stage: str, should_log: bool, stop_requested: Callable[[], bool]) -> LoggingPackage | None:
        """Nothing is under way."""
        return None

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

    def close(self) -> None:
        """Nothing to end."""


class Validator(NoValidation):
    """Plays the episodes beside the first worker's training, and tells all workers the means when they are taken.

    They are taken where the stage runner says, whenever they are there: so nothing depends on how long playing takes.
    It counts its own steps: a checkpoint that was written because the run was preempted moves no later validation.
    """

    def __init__(
        self, experiment: Experiment, validation: Validation, model: nn.Module, workers: WorkerGroup, progress: Progress
    ) -> None:
        self.experiment, self.validation, self.model = experiment, validation, model
        self.workers, self.progress = workers, progress
        self.last_means: dict[str, float] = {}
        self.pending: dict[str, list[float]] = {}  # sums and counts that no criterion has seen so far
        self._played: dict[str, Tensor] = {}  # the model that is being played, as it was
        self._beside: Beside | None = None

    def is_due(self, settings: ResolvedSettings) -> bool:
        """At the stage's end, and when enough steps were taken since the last time and the stage's beginning."""
        progress, every = self.progress, self.validation.every or settings.save_interval
        if every is None or progress.stage_ended is not None:
            return every is not None and self.last_steps != progress.total_steps
        since = max(self.last_steps, progress.total_steps - progress.stage_steps)
        return 0 < every <= progress.total_steps - since

    def begin(self) -> None:
        """Begin to play the model as it is now."""
        self.is_underway, self.last_steps, self._played = True, self.progress.total_steps, {}
        self.go_on()

    def go_on(self) -> None:
        """Begin to play again what was under way when a checkpoint was written; after `load_state_dict`."""
        if self.is_underway and self.workers.is_first:
            self._played = self._played or _copy(self.model)
            if self.progress.stage_ended is None:  # else nothing goes on meanwhile, and it is played where it is taken
                self._beside = Beside(self._play, self.experiment.environment_timeout)

    def take(self, stage: str, should_log: bool, stop_requested: Callable[[], bool]) -> LoggingPackage | None:
        """Wait for the validation that is under way, and remember its means for its checkpoint and for the criterion.

        None if there is none. Raises `EvaluationStopped`, on all workers, if somebody asks to stop: it stays under way.
        """
        if not self.is_underway:
            return None
        found = self.workers.from_first(self._found(stop_requested) if self.workers.is_first else None)
        if found is None:
            raise EvaluationStopped
        self.is_underway, self._played, self._beside = False, {}, None
        self.last_means = {tag: mean for tag, (mean, _) in found["valid"].items()}
        tracker = ScalarMeanTracker()
        tracker.add_scalars(self.last_means, {tag: n for tag, (_, n) in found["valid"].items()})
        self.pending = tracker.sums_and_counts()
        return LoggingPackage(
            kind="valid",
            stage=stage,
            stage_index=self.progress.stage_index,
            total_steps=self.last_steps,
            stage_steps=self.progress.stage_steps - (self.progress.total_steps - self.last_steps),
            means=self.last_means,
            counts=tracker.counts(),
            wall_seconds=found["seconds"],
            should_log=should_log,
        )

    def shown_with(self, interval: ScalarMeanTracker) -> ScalarMeanTracker:
        """The interval and what was validated since the last one that a criterion was asked about."""
        if "episode/return" in interval.means():  # only then the criterion is asked
            interval.add_sums_and_counts(self.pending)
            self.pending = {}
        return interval

    def about(self, total_steps: int) -> dict[str, Any]:
        """For the manifest of the checkpoint at so many steps: what its model has reached, if that is known."""
        if self.last_steps != total_steps or self.is_underway or not self.last_means:
            return {}
        ranked_by = {"metric": self.validation.metric, "lower_is_better": self.validation.lower_is_better}
        means = {tag: mean for tag, mean in self.last_means.items() if mean - mean == 0}  # JSON has no NaN
        return {"validation": {**ranked_by, "means": means}}

    def state_dict(self) -> dict[str, Any]:
        """When it was begun last, whether it is under way and of which model, and what no criterion has seen."""
        is_of_now = self.last_steps == self.progress.total_steps  # then the checkpoint has that model anyway
        state = {"last_steps": self.last_steps, "pending": self.pending, "is_underway": self.is_underway}
        return {**state, "played": {} if is_of_now else self._played}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from there; {} means that it has never played."""
        self.last_steps, self.pending = state.get("last_steps", 0), state.get("pending", {})
        self.is_underway, self._played = state.get("is_underway", False), state.get("played", {})

    def close(self) -> None:
        """Play no further."""
        if self._beside is not None:
            self._beside.close()

    def _found(self, stop_requested: Callable[[], bool]) -> dict[str, Any] | None:
        """What `_play` has found; None if somebody asked to stop."""
        data = None if self._beside is None else self._beside.result(stop_requested)
        if data is None and not stop_requested():
            try:
                data = self._play(stop_requested)  # here: where it raises, this is the way to see what and where
            except EvaluationStopped:
                return None
        return None if data is None else json.loads(data)

    def _play(self, stop_requested: Callable[[], bool]) -> bytes:
        """As JSON, seconds: how long it took; valid: tag -> mean and number of episodes behind it."""
        began = time.perf_counter()
        source = validation_environment(self.experiment, self.progress.stage_index)
        device = next(self.model.parameters(), torch.zeros(())).device
        count, seed = self.validation.episodes, self.validation.seed
        with _as_it_was(self.model, self._played):
            episodes = evaluate(self.model, source, count, seed, device, stop_requested=stop_requested)
        valid = {f"valid/{tag}": (float(one.mean()), float(len(one))) for tag, one in values_of(episodes).items()}
        return json.dumps({"seconds": time.perf_counter() - began, "valid": valid}).encode()


def _copy(model: nn.Module) -> dict[str, Tensor]:
    return {name: tensor.detach().clone() for name, tensor in model.state_dict().items()}


@contextmanager
def _as_it_was(model: nn.Module, before: Mapping[str, Tensor]) -> Iterator[None]:
    """Within this context the model is as it was before."""
    now = _copy(model)
    try:
        model.load_state_dict(before)
        yield
    finally:
        model.load_state_dict(now)


def validation_environment(experiment: Experiment, stage_index: int) -> EnvironmentSource:
    """What is played when a checkpoint of this stage is validated or evaluated."""
    own = experiment.validation.environment if experiment.validation else None
    return environment_of_stage(experiment, stage_index).source if own is None else own


def validator_of(
    experiment: Experiment, environments: Environments, model: nn.Module, workers: WorkerGroup, progress: Progress
) -> NoValidation:
    """The validator of an experiment. Refuses validation environments whose spaces the model does not fit."""
    validation = experiment.validation
    if validation is None:
        return NoValidation()
    if validation.environment is not None:
        with untouched_global_random_state():
            _check(validation, validation.environment, environments)
    return Validator(experiment, validation, model, workers, progress)


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
