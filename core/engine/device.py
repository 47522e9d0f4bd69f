"""Where a process computes, with how many threads, and how strictly."""

from __future__ import annotations

import contextlib
import math
import os
from collections.abc import Iterator
from pathlib import Path

import torch
from torch import nn

from ..errors import UsageError
from .workers.workers import is_one_of_many, local_rank, workers_here

WORTH_A_THREAD = 2**23
"""Parameters × steps of a minibatch: half a millisecond of learning. To deal out less costs more than it saves."""

IMAGE = 4096
"""Bytes of the smallest observation that counts as an image: 64 × 64 in grey."""

CPU_LIMIT = Path("/sys/fs/cgroup/cpu.max")
"""What a container may use: microseconds and the period in which it may use them."""


def prepare(device: str, deterministic: bool) -> torch.device:
    """Choose the device and set what must be set before anything is computed.

    * device: "auto" (a GPU if there is one), "cpu", "cuda" (of several workers each takes its own) or "cuda:i".
    * deterministic: only operations that give the same bits each time; slower on GPUs. On a CPU they are taken in any
      case; where there is none this makes it an error and not a warning.

    torch computes with one thread but for what `threads` encloses: small models are fastest so, and while environments
    are stepped idle threads only take the cores from them.

    Raises UsageError for a device that is not there.
    """
    if deterministic:
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
        torch.use_deterministic_algorithms(True)
        torch.backends.cudnn.benchmark = False
    torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]  # it takes time
    torch.set_num_threads(1)
    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    chosen = _named(device)
    if chosen.type == "cuda" and chosen.index is None and is_one_of_many():
        chosen = torch.device("cuda", local_rank())
    if chosen.type == "cuda":
        _check_gpu(chosen)
        torch.cuda.set_device(chosen)
    if (
        chosen.type == "cpu" and not deterministic
    ):  # where it costs nothing: the gradient of an index is even computed sooner
        torch.set_deterministic_debug_mode("warn")  # use_deterministic_algorithms would import torch's compiler
    return chosen


@contextlib.contextmanager
def threads(count: int) -> Iterator[None]:
    """Within this context torch computes on the CPU with so many threads."""
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def learning_threads(model: nn.Module, observation_bytes: int, minibatch: int) -> int:
    """How many threads to learn with: a rule, as the bits depend on it and a measurement would differ each time.

    All cores for convolutions over images, at least two for convolutions over small grids; else as many as the work
    for a minibatch is worth. One where several workers share the cores.

    * minibatch: its size in steps.
    """
    if is_one_of_many():
        return 1
    convolves = any(isinstance(module, nn.Conv2d) for module in model.modules())
    if convolves and observation_bytes >= IMAGE:
        return cores()
    tables = {module.weight for module in model.modules() if isinstance(module, nn.Embedding)}  # only looked up
    multiplied = sum(parameter.numel() for parameter in model.parameters() if parameter not in tables)
    return min(cores(), max(multiplied * minibatch // WORTH_A_THREAD, 2 if convolves else 1))


def cores() -> int:
    """How many cores this worker has: those it may run on, as far as its control group lets it (a container's limit
    counts, not the machine), shared with the workers beside it. At least 1.
    """
    may = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, int(min(may, _quota())) // workers_here())


def _quota() -> float:
    """Cores that the control group grants on average; infinite without a limit."""
    try:
        granted, period = CPU_LIMIT.read_text().split()
    except (OSError, ValueError):
        return math.inf
    return math.inf if granted == "max" else math.ceil(int(granted) / int(period))


def _named(device: str) -> torch.device:
    try:
        return torch.device(device)
    except RuntimeError:
        raise UsageError(f"there is no device {device!r}", "use auto, cpu, cuda or cuda:0, cuda:1, …") from None


def _check_gpu(device: torch.device) -> None:
    if not torch.cuda.is_available():
        raise UsageError(f"the device {device} was asked for, but this torch sees no CUDA GPU", "use --device cpu")
    if (device.index or 0) >= torch.cuda.device_count():
        raise UsageError(f"the device {device} was asked for; there are {torch.cuda.device_count()} GPUs")
