"""What losses read off the steps of the stage, as inputs of a recording."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from ..batch import Batch
from .tape import NotRepeatable


class Schedules:
    """Functions of the stage's steps that losses asked for, each with a scalar of float64 that holds its value."""

    def __init__(self) -> None:
        self.tensors: list[Tensor] = []
        self._functions: list[Callable[[int], float]] = []
        self._steps: int | None = None

    def tensor_of(self, function: Callable[[int], float]) -> Tensor:
        """The scalar of this function."""
        for known, tensor in zip(self._functions, self.tensors, strict=True):
            if known is function:
                return tensor
        self._functions.append(function)
        self.tensors.append(torch.tensor(float(function(self._steps or 0)), dtype=torch.float64))
        return self.tensors[-1]

    def at(self, stage_steps: int) -> list[Tensor]:
        """All scalars, as they are after so many steps."""
        if stage_steps != self._steps:
            self._steps = stage_steps
            for tensor, function in zip(self.tensors, self._functions, strict=True):
                tensor.fill_(function(stage_steps))
        return self.tensors


@dataclass(frozen=True, slots=True, kw_only=True)
class ScheduledBatch(Batch):
    """A batch that gives what is scheduled as tensors, and does not say at which step it is."""

    schedules: Schedules

    def scheduled(self, function: Callable[[int], float]) -> Tensor:
        return self.schedules.tensor_of(function)

    def __getattribute__(self, name: str) -> Any:
        if name == "stage_steps":
            raise NotRepeatable("a loss asked for the steps of the stage, not for batch.scheduled(function)")
        return object.__getattribute__(self, name)
