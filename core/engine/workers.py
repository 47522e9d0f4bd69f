"""WorkerGroup: the only place that knows torch.distributed. A single process is a group of one."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol, TypeVar

from torch import Tensor

T = TypeVar("T")


class WorkerGroup(Protocol):
    """The training processes of one run. Every method is called by all workers, in the same order."""

    rank: int
    world_size: int

    @property
    def is_first(self) -> bool:
        """Whether this is the worker that writes for all: rank 0."""

    def sum_tensors(self, tensors: Sequence[Tensor]) -> None:
        """Add each tensor over the workers, in place."""

    def any(self, flag: bool) -> bool:
        """Whether any worker says True."""

    def from_first(self, value: T) -> T:
        """The value that rank 0 has."""

    def gather(self, value: T) -> list[T]:
        """The values of all workers, by rank."""

    def barrier(self) -> None:
        """Wait for all workers."""


class SingleWorker:
    """The only worker: everything it says is already the sum over all workers."""

    rank = 0
    world_size = 1
    is_first = True

    def sum_tensors(self, tensors: Sequence[Tensor]) -> None:
        """Nobody else has anything to add."""

    def any(self, flag: bool) -> bool:
        """Nobody else says anything."""
        return flag

    def from_first(self, value: T) -> T:
        """This is the first."""
        return value

    def gather(self, value: T) -> list[T]:
        """This is all there is."""
        return [value]

    def barrier(self) -> None:
        """There is nobody to wait for."""
