"""The values a schedule takes over the steps of a stage, found by calling it."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import torch

from ..core.builder import Builder, built
from ..core.engine.learning.schedule import Schedule
from ..core.experiment import Experiment
from ..core.pipeline import PipelineStage
from .text import sparkline

POINTS = 8


class Curve(NamedTuple):
    """A schedule at `POINTS` places from the first step of a stage to its last, evenly apart."""

    values: Sequence[float]

    def __str__(self) -> str:
        """Start → end and the way between; one value if nothing changes."""
        first, last = self.values[0], self.values[-1]
        if all(value == first for value in self.values):
            return f"{first:g}"
        low = min(0.0, *self.values)
        return f"{first:.3g} → {last:.3g} {sparkline(self.values, low, max(self.values))}"


def steps_of(stage: PipelineStage) -> int | None:
    """The steps a stage may take; None if only a function knows, which is asked when the stage begins."""
    return None if callable(stage.max_stage_steps) else stage.max_stage_steps


def curve_over(schedule: Callable[[int], float], steps: int) -> Curve:
    """A function of the steps in a stage, over these steps."""
    return Curve([float(schedule(step)) for step in _places(0, steps)])


def learning_rates(experiment: Experiment) -> list[Curve | None]:
    """The learning rate over each stage; None where the steps before are unknown or a metric drives the schedule."""
    pipeline = experiment.pipeline
    curves: list[Curve | None] = []
    begin: int | None = 0
    rates = _LearningRates(pipeline.optimizer_builder, pipeline.lr_scheduler_builder)
    for stage in pipeline:
        steps = steps_of(stage)
        if stage.restart_lr_scheduler and begin is not None:
            rates.restart(begin)
        end = None if begin is None or steps is None else begin + steps
        curves.append(None if begin is None or end is None else rates.curve(begin, end))
        begin = end
    return curves


class _LearningRates:
    """The pipeline's optimizer and scheduler around a parameter that nobody trains."""

    def __init__(self, optimizer: Builder[Any], scheduler: Builder[Any] | None) -> None:
        self._optimizer_builder, self._scheduler_builder = optimizer, scheduler
        self.restart(0)

    def restart(self, first_step: int) -> None:
        parameter = torch.nn.Parameter(torch.zeros(1))
        self._optimizer = built(self._optimizer_builder, params=[parameter])
        self._schedule = Schedule(self._scheduler_builder, self._optimizer, first_step)

    def curve(self, begin: int, end: int) -> Curve | None:
        if isinstance(self._schedule.scheduler, torch.optim.lr_scheduler.ReduceLROnPlateau):
            return None
        return Curve(list(self._rates(begin, end)))

    def _rates(self, begin: int, end: int) -> Iterator[float]:
        for step in _places(begin, end):
            self._schedule.advance(step)
            yield float(self._optimizer.param_groups[0]["lr"])


def _places(begin: int, end: int) -> list[int]:
    return [begin + math.floor((end - begin) * place / (POINTS - 1)) for place in range(POINTS)]
