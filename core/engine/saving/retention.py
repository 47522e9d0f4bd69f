"""Which checkpoints stay: the last few, every stage's last, the best one, and always the newest healthy one."""

from __future__ import annotations

import json
from collections.abc import Callable, Collection
from pathlib import Path

from ...errors import CheckpointError
from .checkpoint import list_checkpoints, prune
from .checkpoint_choice import best_of
from .checkpoint_manifest import MANIFEST


def retain(
    directory: Path,
    keep: int | None,
    warn: Callable[[str], None] = lambda text: None,
    waiting: Collection[str] = (),
) -> list[Path]:
    """Delete old checkpoints but the last `keep` (None: all stay), every stage's last, the best of those that were
    validated, and those that are `waiting` for that; gives those that are gone.

    One that cannot be deleted is told in words, and nothing more is deleted.
    """
    if keep is None:
        return []
    ends = [path.name for path in list_checkpoints(directory) if _ends_a_stage(path)]
    best = best_of(directory)
    try:
        return prune(directory, keep, [*ends, *waiting, *([best.name] if best else [])])
    except CheckpointError as error:
        warn(str(error))
        return []


def _ends_a_stage(path: Path) -> bool:
    try:
        return bool(json.loads((path / MANIFEST).read_bytes())["about"].get("stage_ended"))
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return False  # damaged: `prune` looks more closely
