"""When a stage has reached its goal before its steps are used up."""

from __future__ import annotations

import abc
import math
from collections.abc import Iterator, Mapping
from typing import Any

from .errors import ExperimentError, Fault, did_you_mean, refuse, where
from .metrics import ScalarMeanTracker
from .settings import number_fault


class EarlyStoppingCriterion(abc.ABC):
    """Decides whether the training of a stage should stop early.

    It is asked once for each closed interval in which an episode ended. One decision counts for all workers.
    A criterion that remembers something has `state_dict` and `load_state_dict`, and is then saved with the run.

    * reason: why it stopped, for the console. A criterion may set it or define it as a property.
    """

    reason: str = "the early-stopping criterion is met"

    @abc.abstractmethod
    def __call__(self, stage_steps: int, total_steps: int, training_metrics: ScalarMeanTracker) -> bool:
        """True if training should stop early.

        * stage_steps: steps taken in this stage.
        * total_steps: steps taken in the whole run, earlier stages included.
        * training_metrics: the means of the interval over all workers, by tag ("episode/return"). It belongs to the
          criterion, which may also pop it.
        """


class NeverEarlyStoppingCriterion(EarlyStoppingCriterion):
    """Never stops early: the stage uses up its steps."""

    def __call__(self, stage_steps: int, total_steps: int, training_metrics: ScalarMeanTracker) -> bool:
        """False."""
        return False


class StopWhenMetricReaches(EarlyStoppingCriterion):
    """Stops when the mean of a metric is at least `threshold`, in so many intervals in a row.

    `StopWhenMetricReaches("return", 475, consecutive_intervals=3)`

    An interval that says too little about the metric (no episode with it, or fewer than `minimum_episodes`) is passed
    over: it neither counts nor breaks the row.

    * metric: a tag such as "episode/return" or "valid/return" (of the experiment's validation); a bare name means an
      episode's: "success" is "episode/success".
    * threshold: the mean that must be reached or exceeded.
    * consecutive_intervals: how many intervals in a row must reach it, ≥ 1.
    * minimum_episodes: how many episodes an interval's mean must rest on to count, ≥ 0.

    Refused with `ExperimentError`: values out of these ranges when it is written; when it is asked, a metric that no
    interval has had so far, though there were others.
    """

    def __init__(
        self, metric: str, threshold: float, consecutive_intervals: int = 1, minimum_episodes: int = 0
    ) -> None:
        self.metric = metric
        self.threshold = threshold
        self.consecutive_intervals = consecutive_intervals
        self.minimum_episodes = minimum_episodes
        self._location = where()
        self._intervals_in_a_row = 0
        self._metric_was_seen = False
        refuse(self._faults())

    @property
    def tag(self) -> str:
        """The metric's full name."""
        return self.metric if "/" in self.metric else f"episode/{self.metric}"

    @property
    def is_of_validation(self) -> bool:
        """Whether it waits for a metric of the validation episodes, such as "valid/return"."""
        return self.tag.startswith("valid/")

    @property
    def reason(self) -> str:  # type: ignore[override]  # a class attribute there, so that others may just set it
        """Why it stopped, or how far it is."""
        goal = f"{self.tag} ≥ {self.threshold:g}"
        return f"{goal} in {self._intervals_in_a_row} of {self.consecutive_intervals} intervals in a row"

    def __call__(self, stage_steps: int, total_steps: int, training_metrics: ScalarMeanTracker) -> bool:
        """True once the metric has reached the threshold often enough."""
        means = training_metrics.means()
        self._refuse_unknown_metric(means)
        if self.tag in means and training_metrics.counts()[self.tag] >= self.minimum_episodes:
            reached = means[self.tag] >= self.threshold
            self._intervals_in_a_row = self._intervals_in_a_row + 1 if reached else 0
        return self._intervals_in_a_row >= self.consecutive_intervals

    def state_dict(self) -> dict[str, Any]:
        """What it remembers from one interval to the next."""
        return {"intervals_in_a_row": self._intervals_in_a_row, "metric_was_seen": self._metric_was_seen}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from what `state_dict` saved."""
        self._intervals_in_a_row = state["intervals_in_a_row"]
        self._metric_was_seen = state["metric_was_seen"]

    def __repr__(self) -> str:
        return (
            f"StopWhenMetricReaches({self.metric!r}, {self.threshold!r}, "
            f"consecutive_intervals={self.consecutive_intervals}, minimum_episodes={self.minimum_episodes})"
        )

    def _refuse_unknown_metric(self, means: Mapping[str, float]) -> None:
        self._metric_was_seen = self._metric_was_seen or self.tag in means
        comparable = [tag for tag in means if tag.startswith("valid/") == self.is_of_validation]
        if comparable and not self._metric_was_seen:
            first = "validation" if self.is_of_validation else "interval"
            text = f"StopWhenMetricReaches waits for the metric {self.tag!r}, but the first {first} has none."
            raise ExperimentError([Fault(text, self._location, did_you_mean(self.tag, comparable))])

    def _faults(self) -> Iterator[Fault]:
        if not isinstance(self.metric, str) or not self.metric:
            text = f"metric must be the name of a metric, not {self.metric!r}"
            yield Fault(text, self._location, 'Write e.g. "episode/return", "success".')
        if not isinstance(self.threshold, (int, float)) or not math.isfinite(self.threshold):
            yield Fault(f"threshold must be a finite number, not {self.threshold!r}", self._location)
        texts = [
            number_fault("consecutive_intervals", self.consecutive_intervals, True, 1, math.inf, True),
            number_fault("minimum_episodes", self.minimum_episodes, True, 0, math.inf, True),
        ]
        yield from (Fault(text, self._location) for text in texts if text)
