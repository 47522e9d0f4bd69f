"""Schedule: any torch learning-rate scheduler, driven by steps instead of epochs."""

from __future__ import annotations

import warnings
from collections import Counter
from typing import Any

from torch import optim
from torch.optim import lr_scheduler

from ...builder import Builder, built

# Schedulers whose rate depends on the step alone can go there in one move; the others are taken there step by step.
_DIRECT = (lr_scheduler.LambdaLR, lr_scheduler.CosineAnnealingWarmRestarts)


class Schedule:
    """The learning rate as a function of total steps.

    * builder: builds the scheduler from `optimizer=`; None: the rate is constant.
    * first_step: total steps at which the schedule counts 0.

    After its total_steps OneCycleLR stays where it ended. ReduceLROnPlateau is stepped once for each closed interval
    with the mean of episode/return (mode "max") or loss/total (mode "min"); see `observe`.
    """

    def __init__(
        self, builder: Builder[lr_scheduler.LRScheduler] | None, optimizer: optim.Optimizer, first_step: int
    ) -> None:
        self.first_step = first_step
        self.steps = 0
        self.scheduler: Any = None if builder is None else built(builder, optimizer=optimizer)

    def advance(self, total_steps: int) -> None:
        """Set the learning rate to that of this number of total steps, not fewer than before."""
        steps = total_steps - self.first_step
        if self.scheduler is not None and not isinstance(self.scheduler, lr_scheduler.ReduceLROnPlateau):
            with warnings.catch_warnings():
                # torch calls step(epoch) deprecated and offers nothing instead, and it minds a rate that moves before
                # the first optimizer step, as in a stage that learns nothing from its rollouts
                warnings.simplefilter("ignore")
                self._move(steps)
        self.steps = steps

    def _move(self, steps: int) -> None:
        if isinstance(self.scheduler, lr_scheduler.OneCycleLR):
            # it refuses to go on after its total_steps, which a stage may overshoot, and is undefined at the last one
            self.scheduler.step(min(steps, self.scheduler.total_steps - 1))
        elif isinstance(self.scheduler, _DIRECT) or hasattr(self.scheduler, "_get_closed_form_lr"):
            self.scheduler.step(steps)
        else:
            for _ in range(steps - self.steps):
                self.scheduler.step()

    def observe(self, means: dict[str, float]) -> None:
        """Show a closed interval to a scheduler that watches a metric."""
        if isinstance(self.scheduler, lr_scheduler.ReduceLROnPlateau):
            tag = "episode/return" if self.scheduler.mode == "max" else "loss/total"
            if tag in means:
                self.scheduler.step(means[tag])

    def state_dict(self) -> dict[str, Any]:
        """The position and the scheduler's own state."""
        own = {} if self.scheduler is None else self.scheduler.state_dict()
        return {"steps": self.steps, "first_step": self.first_step, "scheduler": own}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue from there."""
        self.steps, self.first_step = state["steps"], state["first_step"]
        if self.scheduler is None:
            return
        counters = {name for name, value in vars(self.scheduler).items() if isinstance(value, Counter)}
        # MultiStepLR asks a Counter what a dict, as a checkpoint has it, cannot say
        own = {name: Counter(value) if name in counters else value for name, value in state["scheduler"].items()}
        self.scheduler.load_state_dict(own)
