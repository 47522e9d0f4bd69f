"""What a resume can promise, and why it is not more."""

from __future__ import annotations

from collections.abc import Iterator

import torch

from ...source_files import edited
from ..early_stopping import StageCriterion
from ..trainer import Trainer
from .checkpoint import GUARANTEES, Checkpoint
from .origin import versions

_COMPUTING = ("trainctl", "torch", "numpy", "numba", "gymnasium")
"""Whose versions the bits depend on."""


def promised(trainer: Trainer) -> str:
    """What a resume of this training can promise at most, as long as nothing changes."""
    repeats = trainer.device.type == "cpu" or torch.are_deterministic_algorithms_enabled()
    criteria = [stage.early_stopping_criterion for stage in trainer.stages[trainer.progress.stage_index :]]
    lost = any(StageCriterion(criterion, trainer.workers).problems for criterion in criteria if criterion is not None)
    is_exact = repeats and not lost and trainer.collector.environments.guarantee == "bit-exact"
    return "bit-exact" if is_exact else "exact-state"


def guarantee_of(checkpoint: Checkpoint, problems: list[str], trainer: Trainer) -> str:
    """The weakest of what the checkpoint promised and what this resume can.

    problems: what the trainer could not restore.
    """
    now: str = "exact-state" if problems else "bit-exact"
    if trainer.has_changed or any(differences(checkpoint, trainer)):
        now = "continued"
    before: str = checkpoint.about.get("guarantee", "bit-exact")
    return max(before, now, promised(trainer), key=GUARANTEES.index)


def differences(checkpoint: Checkpoint, trainer: Trainer) -> Iterator[str]:
    """What is otherwise around the training than when the checkpoint was written, in words."""
    then, now = checkpoint.manifest["workers"], trainer.workers.world_size
    if then != now:
        yield f"it goes on with {now} worker{'s' if now > 1 else ''}, there were {then}: not with the same bits"
    device = checkpoint.about.get("device", trainer.device.type)
    if device != trainer.device.type:
        yield f"it goes on on {trainer.device.type}, it was on {device}: not with the same bits"
    for name in edited(checkpoint.about.get("code", {}), trainer.about.get("code", {})):
        yield f"{name} is not as it was when {checkpoint.path.name} was written: not with the same bits"
    before, present = checkpoint.manifest["versions"], versions()
    for name in _COMPUTING:
        if name in before and before[name] != present[name]:
            yield f"it goes on with {name} {present[name]}, it was {before[name]}: the bits may differ"
