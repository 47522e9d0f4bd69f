"""Of several workers that failed, the one that failed first: what it wrote, and which one it is."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple, Protocol

from ...errors import WorkerLostError

ERROR_FILE = "TORCHELASTIC_ERROR_FILE"


class WorkerEnd(Protocol):
    """How a worker ended, as torch's launcher tells it; a negative exit code is that of a signal."""

    exitcode: int
    timestamp: int
    error_file_data: dict[str, Any]


class FirstError(NamedTuple):
    """The worker with this global rank failed first. text: what and where; empty if it could not say."""

    rank: int
    exit_code: int
    text: str


def write_error(error: Exception, text: str) -> None:
    """A worker leaves what went wrong, and when, for its launcher. A process without launcher does nothing.

    What went wrong an attempt before (the error's `left`) is left as it was then.
    """
    if not (file := os.environ.get(ERROR_FILE)):
        return
    now = time.time()
    content = {"message": text, "timestamp": int(now), "time": now, "lost": isinstance(error, WorkerLostError)}
    content["exit_code"] = getattr(error, "exit_code", 1)
    if rank := os.environ.get("RANK"):
        content["rank"] = int(rank)
    content |= getattr(error, "left", {})
    with contextlib.suppress(OSError):
        Path(file).write_text(json.dumps(content), "utf-8")


def errors_in(attempt: Path) -> list[dict[str, Any]]:
    """What the workers of an attempt on this machine have left."""
    found = []
    for file in attempt.glob("*/error.json"):
        with contextlib.suppress(OSError, ValueError):
            found.append(json.loads(file.read_text("utf-8")))
    return found


def first_error(ends: Mapping[int, WorkerEnd]) -> FirstError:
    """The first in time; one that only missed another worker, or was told to end before it had left anything, counts
    where there is no other."""

    def order(rank: int) -> tuple[bool, float]:
        data = ends[rank].error_file_data
        followed = bool(data.get("lost")) or (not data and ends[rank].exitcode == -signal.SIGTERM)
        return followed, data.get("time", ends[rank].timestamp)

    rank = min(ends, key=order)
    data = ends[rank].error_file_data
    message = data.get("message", "")
    exit_code = data.get("exit_code", ends[rank].exitcode)  # it may have been told to end while it ended
    return FirstError(data.get("rank", rank), exit_code, message if isinstance(message, str) else "")
