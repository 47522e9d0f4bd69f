"""Small checkpoints, several workers in one process, and ways to do harm to both."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeVar

import torch
from torch import Tensor

from trainctl.core.engine.saving.checkpoint import checkpoint_name, save_checkpoint
from trainctl.core.engine.saving.checkpoint_manifest import MANIFEST, entry, write_manifest
from trainctl.core.engine.workers.workers import SingleWorker, WorkerGroup

T = TypeVar("T")


def save(directory: Path, step: int, *, weight: float = 1.0, healthy: bool = True, **content: Any) -> Path:
    """A checkpoint with recognisable numbers in each of its files."""
    defaults: dict[str, Any] = {
        "model": {"weight": torch.full((4,), weight), "count": torch.tensor(7)},
        "shared": {"progress": {"total_steps": step}},
        "own": {"random": {"state": torch.arange(3)}},
        "about": {"stage": "ppo", "healthy": healthy},
        "workers": SingleWorker(),
    }
    return save_checkpoint(directory, checkpoint_name(step), **{**defaults, **content})


def reseal(path: Path) -> None:
    """What an attacker does: the manifest is made anew for the files that are there."""
    old = json.loads((path / MANIFEST).read_bytes())
    files = {file.name: entry(file.read_bytes()) for file in path.iterdir() if file.name != MANIFEST}
    (path / MANIFEST).write_bytes(write_manifest(old["step"], old["workers"], old["about"], files))


def names(paths: Sequence[Path]) -> list[str]:
    return [path.name for path in paths]


def snapshot(directory: Path) -> dict[str, bytes]:
    """Every file below a directory, with its content."""
    files = (path for path in directory.rglob("*") if path.is_file())
    return {str(path.relative_to(directory)): path.read_bytes() for path in files}


class ThreadWorker:
    """One of several workers that are threads of this process."""

    def __init__(self, rank: int, values: list[Any], barrier: threading.Barrier) -> None:
        self.rank, self.world_size, self.is_first = rank, len(values), rank == 0
        self._values, self._barrier = values, barrier

    def gather(self, value: T) -> list[T]:
        self._values[self.rank] = value
        self.barrier()
        values = list(self._values)
        self.barrier()
        return values

    def from_first(self, value: T) -> T:
        return self.gather(value)[0]

    def any(self, flag: bool) -> bool:
        return any(self.gather(flag))

    def sum(self, values: dict[str, float]) -> dict[str, float]:
        raise NotImplementedError

    def sum_tensors(self, tensors: Sequence[Tensor]) -> None:
        raise NotImplementedError

    def barrier(self) -> None:
        self._barrier.wait(timeout=20)


def on_workers(count: int, action: Callable[[WorkerGroup], Any]) -> list[Any]:
    """What `action` gives, or the error it raises, on each of so many workers that run at the same time."""
    values, barrier, results = [None] * count, threading.Barrier(count), [None] * count

    def work(rank: int) -> None:
        try:
            results[rank] = action(ThreadWorker(rank, values, barrier))  # type: ignore[arg-type, func-returns-value]
        except Exception as error:
            results[rank] = error  # type: ignore[call-overload]

    threads = [threading.Thread(target=work, args=(rank,)) for rank in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return results
