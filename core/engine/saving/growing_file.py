"""A file that is only appended to, and cut back when the training goes back to a checkpoint."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

from ...errors import UsageError


class GrowingFile:
    """What cannot be written is kept and tried again with the next addition; so a full disk stops nothing.

    * warn: told in words when writing fails; not again before it has succeeded once more.
    """

    def __init__(self, path: Path, warn: Callable[[str], None]) -> None:
        self.path = path
        self._warn = warn
        self._backlog = b""
        self._has_warned = False

    def add(self, data: bytes) -> None:
        """Append, whole or (for now) not at all; others can read it at once."""
        self._backlog += data
        self.retry()

    def retry(self) -> None:
        """Append what is still to be written."""
        if self._backlog:
            try:
                self.path.parent.mkdir(parents=True, exist_ok=True)
                append_whole(self.path, self._backlog)
                self._backlog, self._has_warned = b"", False
            except OSError as error:
                self._tell(error)

    def settled_size(self) -> int:
        """The size of the file; so many bytes of it are on the disk."""
        self.retry()
        try:
            flush_file(self.path)
        except OSError as error:
            self._tell(error)
        return size_of(self.path)

    def _tell(self, error: OSError) -> None:
        if not self._has_warned:
            reason = error.strerror or str(error)
            self._warn(f"{self.path} cannot be written: {reason}. The training goes on, and this is tried again.")
        self._has_warned = True


def append_whole(path: Path, data: bytes) -> None:
    """Append all of the data or, where that fails, nothing. Raises `OSError`."""
    size = size_of(path)
    try:
        with path.open("ab") as file:
            file.write(data)
    except OSError:
        if path.exists():
            os.truncate(path, size)
        raise


def cut_back(path: Path, size: int, dropped: Path, end: bytes = b"") -> None:
    """Cut a file to `size` bytes, after the rest was appended to the file `dropped`, and `end` where it lacks that.

    A file that is missing or no longer than that stays as it is. Raises `UsageError` where a file cannot be written.
    """
    try:
        if size_of(path) > size:
            with path.open("r+b") as file:
                file.seek(size)
                tail = file.read()
                dropped.parent.mkdir(parents=True, exist_ok=True)
                append_whole(dropped, tail if tail.endswith(end) else tail + end)
                file.truncate(size)
    except OSError as error:
        reason = f"{error.filename or path}: {error.strerror}"
        raise UsageError(f"{path} cannot be cut back to where the checkpoint was written: {reason}") from error


def flush_file(path: Path) -> None:
    """Wait until a file is on the disk. One that is missing needs no waiting. Raises `OSError`."""
    if path.exists():
        with path.open("rb") as file:
            os.fsync(file.fileno())


def size_of(path: Path) -> int:
    """The size of a file in bytes; 0 where there is none."""
    return path.stat().st_size if path.exists() else 0
