"""Progress: every counter of a run, in one place."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any

from ..settings import ResolvedSettings

STEPS_TAKEN = "steps taken"
STOPPED_EARLY = "stopped early"


@dataclass
class Progress:
    """Where a run is. Steps count over all environments and workers.

    * total_steps, stage_steps: steps so far, and those of the current stage.
    * rollouts, stage_rollouts: rollouts so far, and those of the current stage.
    * stage_index: the current stage; equal to the number of stages when all are done.
    * stage_budget: the most steps the current stage takes; None before it has begun.
    * stage_ended: why the current stage has ended, or None while it goes on.
    * last_report, last_save: total steps when the metrics were last closed, and when a checkpoint was last written.
    * stages: a record of each finished stage.
    * seconds: time spent training, over all attempts.
    """

    total_steps: int = 0
    stage_steps: int = 0
    rollouts: int = 0
    stage_rollouts: int = 0
    stage_index: int = 0
    stage_budget: int | None = None
    stage_ended: str | None = None
    last_report: int = 0
    last_save: int = 0
    stages: list[dict[str, Any]] = field(default_factory=list)
    seconds: float = 0.0

    def begin_stage(self, budget: int) -> None:
        """A new stage begins, with at most this many steps (but whole rollouts)."""
        self.stage_budget = budget
        self.last_save = self.total_steps  # save_interval counts from here, also after a stage that never saves
        self.stage_steps = self.stage_rollouts = 0
        self.stage_ended = None

    def change_budget(self, budget: int) -> None:
        """The current stage gets another budget; if it had ended because its steps were taken it may go on."""
        self.stage_budget = budget
        if self.stage_ended == STEPS_TAKEN and not self.budget_is_spent():
            self.stage_ended = None
            self.stages.pop()

    def count_rollout(self, steps: int) -> None:
        """One rollout of this many steps was collected and learned from."""
        self.total_steps += steps
        self.stage_steps += steps
        self.rollouts += 1
        self.stage_rollouts += 1

    def budget_is_spent(self) -> bool:
        """Whether the current stage has taken all its steps."""
        return self.stage_budget is not None and self.stage_steps >= self.stage_budget

    def report_is_due(self, settings: ResolvedSettings) -> bool:
        """Whether the interval is to be closed: it is long enough, or the stage is over."""
        interval = settings.metric_accumulate_interval
        return self.budget_is_spent() or self.total_steps - self.last_report >= interval

    def save_is_due(self, settings: ResolvedSettings) -> bool:
        """Whether a checkpoint is to be written, see `TrainingSettings.save_interval`."""
        if settings.save_interval is None:
            return False
        if self.stage_ended is not None:
            return True
        return settings.save_interval > 0 and self.total_steps - self.last_save >= settings.save_interval

    def scenes_are_due(self, settings: ResolvedSettings) -> bool:
        """Whether the environments are to be asked for new scenes."""
        period = settings.advance_scene_rollout_period
        return period is not None and self.stage_rollouts % period == 0

    def end_stage(self, name: str, reason: str, explanation: str) -> None:
        """The current stage is over: steps taken, or stopped early."""
        self.stage_ended = reason
        record = {"name": name, "steps": self.stage_steps, "total_steps": self.total_steps}
        self.stages.append({**record, "reason": reason, "explanation": explanation})

    def next_stage(self) -> None:
        """Leave the stage that has ended."""
        self.stage_index += 1
        self.stage_budget = None
        self.stage_ended = None
        self.stage_steps = self.stage_rollouts = 0

    def state_dict(self) -> dict[str, Any]:
        """All counters."""
        return asdict(self)

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue from these counters."""
        for name, value in state.items():
            setattr(self, name, value)
