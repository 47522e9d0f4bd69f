"""StageCriterion: a stage's early-stopping criterion, asked once an interval and decided for all workers."""

from __future__ import annotations

import copy
from typing import Any

from ..early_stopping import EarlyStoppingCriterion
from ..errors import ExperimentError, TrainctlError
from ..metrics import ScalarMeanTracker
from .progress import Progress
from .workers.workers import WorkerGroup


class StageCriterion:
    """Asks the criterion on the first worker and tells all. It works on a copy: the declaration stays as written."""

    def __init__(self, criterion: EarlyStoppingCriterion, workers: WorkerGroup) -> None:
        self.criterion = copy.deepcopy(criterion)
        self.workers = workers

    @property
    def is_saved(self) -> bool:
        """Whether the criterion's own state, if it has any, can be saved."""
        has_methods = hasattr(self.criterion, "state_dict") and hasattr(self.criterion, "load_state_dict")
        return has_methods or not getattr(self.criterion, "__dict__", None)

    @property
    def problems(self) -> list[str]:
        """What of the criterion cannot be saved, in words."""
        return [] if self.is_saved else [f"the criterion {self.criterion!r} has no state_dict()/load_state_dict()"]

    def ask(self, progress: Progress, interval: ScalarMeanTracker) -> str | None:
        """Why the stage should stop now, or None. An interval without finished episodes is not shown."""
        if "episode/return" not in interval.means():
            return None
        return self.workers.from_first(self._answer(progress, interval) if self.workers.is_first else None)

    def _answer(self, progress: Progress, interval: ScalarMeanTracker) -> str | None:
        try:
            stop = self.criterion(
                stage_steps=progress.stage_steps, total_steps=progress.total_steps, training_metrics=interval
            )
        except TrainctlError:
            raise
        except Exception as error:
            raise ExperimentError(
                f"the early-stopping criterion {self.criterion!r} raised {type(error).__name__}: {error}",
                "it was called with (stage_steps, total_steps, training_metrics)",
            ) from error
        return getattr(self.criterion, "reason", "the criterion is met") if stop else None

    def state_dict(self) -> dict[str, Any]:
        """The criterion's own state, or nothing."""
        own: Any = getattr(self.criterion, "state_dict", dict)
        return dict(own())

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Give the criterion its state back, if it had one."""
        if hasattr(self.criterion, "load_state_dict") and state:
            self.criterion.load_state_dict(state)
