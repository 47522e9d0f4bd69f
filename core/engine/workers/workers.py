"""WorkerGroup: the only place that knows torch.distributed. A single process is a group of one."""

from __future__ import annotations

import datetime
import json
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar, cast

import torch
from torch import Tensor
from torch.distributed.distributed_c10d import PrefixStore
from torch.distributed.rendezvous import rendezvous

from ...errors import WorkerLostError
from .signals import die_with_parent

T = TypeVar("T")


class WorkerGroup(Protocol):
    """The training processes of one run. Every method is called by all workers, in the same order.

    Values that travel between workers are what JSON can hold: nothing is ever unpickled.
    """

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


@dataclass(frozen=True)
class Fleet:
    """How many workers there are, and where.

    * nproc: workers on each machine. nnodes: machines, as "2", or "1:4" for elastic.
    * node_rank: of this machine; None: whoever comes first is first.
    * rdzv_endpoint: host:port where the machines meet; empty: one machine, a free port on loopback.
    * max_restarts: how often all go back to the newest checkpoint after one has died.
    * worker_options: what the command line of each worker says besides.
    * draws: whether the first worker of this machine has the terminal to itself, and keeps its log by itself.
    """

    nproc: int = 1
    nnodes: str = "1"
    node_rank: int | None = None
    rdzv_endpoint: str = ""
    max_restarts: int = 3
    worker_options: tuple[str, ...] = ()
    draws: bool = False

    @property
    def is_single(self) -> bool:
        """Whether no launcher is needed."""
        return self.nproc == 1 and self.nnodes == "1"


ONE_PROCESS = Fleet()


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


class TorchWorkers:
    """Workers joined by torch.distributed: gloo between CPUs, NCCL between GPUs."""

    def __init__(self, device: torch.device) -> None:
        self.rank = torch.distributed.get_rank()
        self.world_size = torch.distributed.get_world_size()
        self.device = device

    @property
    def is_first(self) -> bool:
        """Whether this is the worker that writes for all: rank 0."""
        return self.rank == 0

    def sum_tensors(self, tensors: Sequence[Tensor]) -> None:
        """One all-reduce for each tensor, where it lies."""
        with _all_there():
            for tensor in tensors:
                torch.distributed.all_reduce(tensor)

    def any(self, flag: bool) -> bool:
        """One all-reduce of one number."""
        votes = torch.tensor([int(flag)], device=self.device)
        self.sum_tensors([votes])
        return bool(votes.item())

    def from_first(self, value: T) -> T:
        """The value that rank 0 has; the others' are ignored."""
        return self.gather(value if self.is_first else cast(T, None))[0]

    def gather(self, value: T) -> list[T]:
        """The values of all workers as JSON text; tuples come back as lists."""
        text = torch.frombuffer(bytearray(json.dumps(value).encode()), dtype=torch.uint8).to(self.device)
        sizes = self._gather(torch.tensor([len(text)], device=self.device))
        longest = max(int(size) for size in sizes)
        texts = self._gather(torch.cat([text, text.new_zeros(longest - len(text))]))
        return [json.loads(bytes(text[: int(size)].cpu().tolist())) for text, size in zip(texts, sizes, strict=True)]

    def _gather(self, own: Tensor) -> list[Tensor]:
        """The tensors of all workers, by rank; all have the same shape."""
        tensors = [torch.empty_like(own) for _ in range(self.world_size)]
        with _all_there():
            torch.distributed.all_gather(tensors, own)
        return tensors

    def barrier(self) -> None:
        """Wait for all workers. Here as in every other method WorkerLostError says that one has died."""
        self.any(False)


@contextmanager
def _all_there() -> Iterator[None]:
    """What torch.distributed says of a worker that has gone, in words."""
    try:
        yield
    except RuntimeError as error:
        text = "another worker has ended, or cannot be reached"
        raise WorkerLostError(text, "what went wrong there is in the run's logs/, and said at the end") from error


def is_one_of_many(environment: Mapping[str, str] = os.environ) -> bool:
    """Whether a launcher (ours, torchrun, SLURM) started this process as one worker of several."""
    return int(environment.get("WORLD_SIZE", "1")) > 1


def local_rank(environment: Mapping[str, str] = os.environ) -> int:
    """This worker's number on its machine; 0 for a single one."""
    return int(environment.get("LOCAL_RANK", "0"))


def workers_here(environment: Mapping[str, str] = os.environ) -> int:
    """How many workers share this machine, and its cores."""
    return int(environment.get("LOCAL_WORLD_SIZE", "1"))


@contextmanager
def worker_group(device: torch.device, timeout: float = 600.0) -> Iterator[WorkerGroup]:
    """The group this process belongs to, as the launcher's environment variables say; a group of one without any.

    timeout: seconds after which a worker that waits for another gives up.
    """
    if not is_one_of_many():
        yield SingleWorker()
        return
    die_with_parent()  # a launcher that is killed takes its workers along
    options: dict[str, Any] = {"timeout": datetime.timedelta(seconds=timeout)}
    with _all_there():
        store, rank, world_size = next(rendezvous("env://", **options))
        options |= {"store": of_this_attempt(store), "rank": rank, "world_size": world_size}
        torch.distributed.init_process_group("nccl" if device.type == "cuda" else "gloo", **options)
    try:
        yield TorchWorkers(device)
    finally:
        torch.distributed.destroy_process_group()


def of_this_attempt(store: Any) -> Any:
    """A part of the store that no earlier attempt wrote to.

    A launcher that shares its store keeps it while workers die and start again. They would find each other's addresses
    of before there, and wait for nobody.
    """
    if os.environ.get("TORCHELASTIC_USE_AGENT_STORE") != "True":
        return store  # rank 0 has just made it
    return PrefixStore(f"attempt-{os.environ['TORCHELASTIC_RESTART_COUNT']}", store)
