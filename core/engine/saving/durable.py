"""Files that are whole or absent: written, flushed to the disk, and only then given their name."""

from __future__ import annotations

import os
import secrets
from pathlib import Path


def write_durably(path: Path, data: bytes) -> None:
    """Write a new file and wait until it is on the disk. Raises `OSError`, also where the file exists already."""
    with path.open("xb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())


def replace_durably(path: Path, data: bytes) -> None:
    """Give a file new content: whoever reads it sees the old content or the new, never a part. Raises `OSError`."""
    aside = path.with_name(f"{path.name}.tmp-{secrets.token_hex(4)}")
    try:
        write_durably(aside, data)
        os.replace(aside, path)
    finally:
        aside.unlink(missing_ok=True)
    flush_directory(path.parent)


def flush_directory(path: Path) -> None:
    """Wait until the names in a directory are on the disk."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
