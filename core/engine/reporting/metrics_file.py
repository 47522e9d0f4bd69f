"""`metrics.jsonl` read back: all of it, or as it grows while a training elsewhere writes it."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from ...metrics import LoggingPackage


def read_packages(path: Path) -> list[LoggingPackage]:
    """Every closed interval of the file, in order. No file: none. A line that is damaged or not yet whole is no
    interval."""
    return _packages(path.read_bytes().splitlines()) if path.exists() else []


def follow(
    path: Path, is_over: Callable[[], bool], earlier: int | None = None, pause: float = 0.5
) -> Iterator[LoggingPackage]:
    """The last `earlier` intervals of a file (None: all), then each new one, until `is_over` says that none will come.

    pause: seconds between two looks. A file that was cut back (the run went back to a checkpoint) is followed from
    its new end.
    """
    skip, position = earlier, 0
    while True:
        over = is_over()  # asked first: what was written before the end is still read after it
        lines, position = _whole_lines(path, position)
        found = _packages(lines)
        yield from found if skip is None else found[max(0, len(found) - skip) :]
        skip = None
        if over:
            return
        time.sleep(pause)


def _whole_lines(path: Path, position: int) -> tuple[list[bytes], int]:
    """The lines that end after this position, and where the last of them ends."""
    if not path.exists():
        return [], 0
    with path.open("rb") as file:
        size = file.seek(0, 2)
        file.seek(min(position, size))
        data = file.read()
    whole = data[: data.rfind(b"\n") + 1]
    return whole.splitlines(), min(position, size) + len(whole)


def _packages(lines: list[bytes]) -> list[LoggingPackage]:
    packages = []
    for line in lines:
        try:
            packages.append(LoggingPackage.from_json(json.loads(line)))
        except (ValueError, KeyError, TypeError, AttributeError):
            continue
    return packages
