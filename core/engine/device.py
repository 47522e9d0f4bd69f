"""Where a process computes, with how many threads, and how strictly."""

from __future__ import annotations

import os

import torch

from ..errors import UsageError
from .workers import is_one_of_many, local_rank


def prepare(device: str, deterministic: bool, threads: int | None = None) -> torch.device:
    """Choose the device and set what must be set before anything is computed.

    * device: "auto" (a GPU if there is one), "cpu", "cuda" (of several workers each takes its own) or "cuda:i".
    * deterministic: only operations that give the same bits each time; slower on GPUs.
    * threads: for torch on the CPU; None: one, which is fastest for small models. The bits depend on it, so a run
      keeps what it began with.

    Raises UsageError for a device that is not there.
    """
    if deterministic:
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
        torch.use_deterministic_algorithms(True)
        torch.backends.cudnn.benchmark = False
    torch.set_num_threads(threads or 1)
    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    chosen = _named(device)
    if chosen.type == "cuda" and chosen.index is None and is_one_of_many():
        chosen = torch.device("cuda", local_rank())
    if chosen.type == "cuda":
        _check_gpu(chosen)
        torch.cuda.set_device(chosen)
    return chosen


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
