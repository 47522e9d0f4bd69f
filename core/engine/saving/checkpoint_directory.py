"""The directory of a checkpoint gets its name when it is whole, loses it before it is deleted, or is moved aside."""

from __future__ import annotations

import os
import re
import secrets
import shutil
from collections.abc import Iterable
from pathlib import Path

from ...errors import CheckpointError
from .checkpoint_manifest import MANIFEST, examine
from .durable import flush_directory, write_durably

SET_ASIDE = re.compile(r"step-\d+\.(damaged|replaced)-[0-9a-f]{8}")


def temporary_name(name: str) -> str:
    """A new name for a checkpoint that is not whole, e.g. "step-000000001000.tmp-0fe12ac9"."""
    return f"{name}.tmp-{secrets.token_hex(4)}"


def publish(aside: Path, target: Path, manifest: bytes) -> None:
    """The directory `aside` gets its manifest and then its name; what had that name before is moved aside.

    Raises `OSError`; then the old one has its name still.
    """
    write_durably(aside / MANIFEST, manifest)
    flush_directory(aside)
    displaced = _displace(target)
    try:
        os.rename(aside, target)
    except OSError:
        if displaced:
            os.rename(displaced, target)
        raise
    flush_directory(target.parent)


def remove(path: Path) -> None:
    """Delete a checkpoint. It loses its name first: killed midway, this leaves none that is half there."""
    aside = path.with_name(temporary_name(path.name))
    try:
        os.rename(path, aside)
    except OSError as error:
        raise CheckpointError(f"the old checkpoint {path} cannot be deleted: {error.strerror}") from error
    shutil.rmtree(aside, ignore_errors=True)


def set_aside(paths: Iterable[Path]) -> None:
    """Take the names of these checkpoints from them: they are listed no longer, and nothing of them is lost."""
    for path in paths:
        try:
            os.rename(path, path.with_name(f"{path.name}.replaced-{secrets.token_hex(4)}"))
        except OSError as error:
            raise CheckpointError(f"{path} cannot be moved aside: {error.strerror}") from error


def remove_set_aside(directory: Path) -> list[Path]:
    """Delete what was damaged or replaced; gives what is gone."""
    found = sorted(path for path in directory.glob("step-*") if SET_ASIDE.fullmatch(path.name))
    for path in found:
        shutil.rmtree(path, ignore_errors=True)
    return found


def cannot_write(target: Path, needed: int, error: Exception) -> str:
    """Why a checkpoint could not be written, and whether it is for want of space."""
    there = next(folder for folder in target.absolute().parents if folder.exists())
    reason = (isinstance(error, OSError) and error.strerror) or str(error)
    free = shutil.disk_usage(there).free
    return f"the checkpoint {target} cannot be written: {reason} (it needs {needed:,} bytes; {free:,} are free)"


def _displace(target: Path) -> Path | None:
    if not os.path.lexists(target):
        return None
    kind = "damaged" if examine(target)[1] else "replaced"
    displaced = target.with_name(f"{target.name}.{kind}-{secrets.token_hex(4)}")
    os.rename(target, displaced)
    return displaced
