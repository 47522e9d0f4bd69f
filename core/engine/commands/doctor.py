"""What of this machine matters to a training, and the command that mends what is wrong."""

from __future__ import annotations

import os
import shutil
import tempfile
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from importlib.util import find_spec
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import torch
from filelock import FileLock, Timeout

OK, WARNING, ERROR = "ok", "warning", "error"
MB, GB = 10**6, 10**9
EXTRAS = {
    "minigrid": "minigrid",
    "atari": "ale_py",
    "mujoco": "mujoco",
    "demos": "minari",
    "sweep": "optuna",
    "plot": "matplotlib",
    "video": "av",
    "onnx": "onnx",
}
"""Extra of the package -> a module that it brings."""


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at.

    * state: "ok", "warning" (it trains, but worse than it could) or "error" (it does not).
    * mend: a command to type or a thing to do; "" where nothing is wrong.
    """

    what: str
    state: str
    found: str
    mend: str = ""

    def to_json(self) -> dict[str, Any]:
        """The entry that `--json` prints."""
        return asdict(self)


def examine(runs_dir: Path) -> list[Finding]:
    """Look at everything. A lock is tried in `runs_dir`, or in the folder that it would be made in."""
    place = next(folder for folder in (runs_dir.absolute(), *runs_dir.absolute().parents) if folder.exists())
    looks: list[Callable[[], Finding]] = [
        torch_build,
        cuda,
        cores,
        shared_memory,
        lambda: disk(place),
        lambda: file_locks(place),
        start_method,
        open_files,
        extras,
    ]
    return [look() for look in looks]


def torch_build() -> Finding:
    """Its version, which decides whether checkpoints are read safely."""
    major, minor = (int(part) for part in torch.__version__.split(".")[:2])
    build = f"for CUDA {torch.version.cuda}" if torch.version.cuda else "for the CPU"
    found = f"{torch.__version__} {build}"
    if (major, minor) < (2, 10):
        return Finding("torch", ERROR, found, "pip install --upgrade 'torch>=2.10'")
    return Finding("torch", OK, found)


def cuda(driver: Path = Path("/dev/nvidia0")) -> Finding:
    """Whether torch can use the GPU that is there. No GPU at all is no fault."""
    if torch.cuda.is_available():
        names = [torch.cuda.get_device_name(index) for index in range(torch.cuda.device_count())]
        return Finding("CUDA", OK, ", ".join(names))
    if not driver.exists():
        return Finding("CUDA", OK, "no GPU here: trains on the CPU")
    if torch.version.cuda is None:
        return Finding(
            "CUDA", WARNING, "a GPU is there, but torch is built for the CPU", "pip install --force-reinstall torch"
        )
    return Finding("CUDA", WARNING, "a GPU is there, but torch cannot use it", "nvidia-smi  # does the driver answer?")


def cores(limits: Path = Path("/sys/fs/cgroup/cpu.max")) -> Finding:
    """The cores this process may use, and a container's limit on them, which few programs see."""
    usable, quota = len(os.sched_getaffinity(0)), _quota(limits)
    found = f"{usable} usable" + ("" if quota is None else f", limited to {quota:g}")
    if quota is not None and quota < usable:
        mend = f"taskset -c 0-{max(0, int(quota) - 1)} trainctl …"
        return Finding("cores", WARNING, f"{found}: more processes than that only wait", mend)
    return Finding("cores", OK, found)


def _quota(limits: Path) -> float | None:
    """How many cores a control group may keep busy; None if it is not limited."""
    try:
        share, period = limits.read_text().split()[:2]
        return None if share == "max" else int(share) / int(period)
    except (OSError, ValueError):
        return None


def shared_memory(folder: Path = Path("/dev/shm")) -> Finding:
    """Room for observations between processes."""
    if not folder.is_dir():
        return Finding("/dev/shm", WARNING, "there is none", "set environment_processes=0 in the Experiment")
    free = shutil.disk_usage(folder).free
    found = f"{_size(free)} free"
    if free < 64 * MB:
        return Finding("/dev/shm", WARNING, found, "docker run --shm-size=2g …, or: mount -o remount,size=2G /dev/shm")
    return Finding("/dev/shm", OK, found)


def disk(place: Path) -> Finding:
    """Room for checkpoints."""
    if not place.is_dir():
        return Finding("disk", ERROR, f"{place} is a file", "trainctl run --runs-dir DIR …")
    free = shutil.disk_usage(place).free
    if not os.access(place, os.W_OK):
        return Finding("disk", ERROR, f"{place} cannot be written", "trainctl run --runs-dir DIR …")
    found = f"{_size(free)} free in {place}"
    if free < GB:
        return Finding(
            "disk", ERROR if free < 50 * MB else WARNING, found, "trainctl run --runs-dir DIR …, with room in DIR"
        )
    return Finding("disk", OK, found)


def file_locks(place: Path) -> Finding:
    """Whether one lock keeps a second one out: that is what keeps two trainings from one run directory."""
    elsewhere = "trainctl run --runs-dir DIR …, with DIR on a local disk or an NFS with locks"
    try:
        with tempfile.TemporaryDirectory(dir=place, prefix=".doctor-") as folder:
            with FileLock(Path(folder) / "LOCK"):
                try:
                    FileLock(Path(folder) / "LOCK").acquire(timeout=0)
                except Timeout:
                    return Finding("file locks", OK, f"work in {place}")
            return Finding("file locks", ERROR, f"keep nobody out in {place}", elsewhere)
    except (OSError, NotImplementedError) as error:
        return Finding("file locks", ERROR, f"cannot be had in {place}: {error}", elsewhere)


def start_method() -> Finding:
    """Whether a child process starts as those of the environments do, and how long that takes."""
    began = time.perf_counter()
    try:
        process = get_context("fork").Process(target=_nothing)
        process.start()
        process.join(10)
        code = process.exitcode
    except (OSError, ValueError) as error:
        code = error.errno if isinstance(error, OSError) else 1
    milliseconds = 1000 * (time.perf_counter() - began)
    if code != 0:
        return Finding(
            "start method", ERROR, f"a forked child ended with {code}", "ulimit -u  # may it start processes?"
        )
    return Finding("start method", OK, f"fork, {milliseconds:.0f} ms")


def _nothing() -> None:
    return None


def open_files() -> Finding:
    """Each environment process needs a few file descriptors."""
    import resource

    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    found = f"{soft:,} at once"
    if soft < 1024:
        return Finding("open files", WARNING, found, f"ulimit -n {min(4096, hard) if hard > 0 else 4096}")
    return Finding("open files", OK, found)


def extras() -> Finding:
    """Which of the optional parts are there. None of them is needed to train."""
    there = [extra for extra, module in EXTRAS.items() if find_spec(module)]
    missing = [extra for extra in EXTRAS if extra not in there]
    hint = f"; not there: {', '.join(missing)} (pip install 'trainctl[{missing[0]}]')" if missing else ""
    return Finding("extras", OK, (", ".join(there) or "none") + hint)


def _size(count: int) -> str:
    return f"{count / GB:.1f} GB" if count >= GB else f"{count / MB:.0f} MB"
