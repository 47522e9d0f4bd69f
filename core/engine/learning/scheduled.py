"""What losses read off the steps of the stage, as inputs of a recording or of a graph."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeAlias

import torch
from torch import Tensor

from ...batch import Batch
from .tape import NotRepeatable

Scheduled: TypeAlias = Callable[[int], float]


class Schedules:
    """Functions of the stage's steps that losses asked for, each with a scalar of float64 that holds its value."""

    def __init__(self, device: torch.device) -> None:
        self.device = device
        self.tensors: list[Tensor] = []
        self._functions: list[Scheduled] = []
        self._steps: int | None = None

    def index(self, function: Scheduled) -> int:
        """Which of the functions known so far this is; their number if it is new."""
        for index, known in enumerate(self._functions):
            if known is function:
                return index
        return len(self._functions)

    def value_of(self, function: Scheduled) -> Tensor:
        """The scalar of this function."""
        index = self.index(function)
        if index == len(self.tensors):
            value = function(self._steps or 0)
            self._functions.append(function)
            self.tensors.append(torch.tensor(value, dtype=torch.float64, device=self.device))
        return self.tensors[index]

    def at(self, stage_steps: int) -> list[Tensor]:
        """All scalars, as they are after so many steps."""
        if stage_steps != self._steps:
            self._steps = stage_steps
            for tensor, function in zip(self.tensors, self._functions, strict=True):
                tensor.fill_(function(stage_steps))
        return self.tensors


@dataclass(frozen=True, slots=True, kw_only=True)
class ScheduledBatch(Batch):
    """A batch that gives what is scheduled as tensors."""

    value_of: Callable[[Scheduled], Tensor]
    stage_steps: int = -1

    def scheduled(self, function: Scheduled) -> Tensor:
        return self.value_of(function)


class TimelessBatch(ScheduledBatch):
    """The same, and it does not say at which step it is."""

    def __getattribute__(self, name: str) -> Any:  # which torch's compiler does not understand
        if name == "stage_steps":
            raise NotRepeatable("a loss asked for the steps of the stage, not for batch.scheduled(function)")
        return object.__getattribute__(self, name)
