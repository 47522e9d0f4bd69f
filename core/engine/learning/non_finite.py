"""Updates with numbers that are not finite: what is said of them, and what is kept so that they can be repeated."""

from __future__ import annotations

import json
import math
import shutil
from collections.abc import Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from ...batch import Batch, Memory
from ...errors import NonFiniteError
from ...tree import Tree, filled, flatten
from ..saving.checkpoint_content import encode_model
from ..saving.origin import versions
from ..workers.workers import WorkerGroup

ON_POLICY, OFF_POLICY = "on-policy", "off-policy"
DUMP, BATCH, MODEL = "dump.json", "batch.safetensors", "model.safetensors"


class FailedUpdate(NamedTuple):
    """An update that was not made.

    * kind: "on-policy" or "off-policy". batch: field -> tree; of the data iterator's batch with one field "batch".
    * memory: before the batch. losses: name -> its value, without its weight. stage_steps: as the losses were told.
    """

    kind: str
    batch: dict[str, Any]
    memory: Memory
    stage_steps: int
    losses: dict[str, float]

    def names(self) -> Tree:
        """The batch with the name of each of its leaves in `tensors` in place of the leaf."""
        return filled(self.batch, flatten(self.batch))

    def tensors(self) -> dict[str, Tensor]:
        """The tensors of the batch and the memory by their path, e.g. "observations.image"."""
        found = {name: leaf for name, leaf in flatten(self.batch).items() if isinstance(leaf, Tensor)}
        return found if self.memory is None else {**found, "memory": self.memory}


class LookEachTime:
    """Whether a number is finite, asked before each step is made."""

    def is_bad(self, number: Tensor) -> bool:
        """Whether this number, a scalar, is not finite. Waits for a GPU to have computed it."""
        return not math.isfinite(number)


class LookLater(LookEachTime):
    """Asked once after many steps, so that nobody waits for a GPU between them."""

    def __init__(self) -> None:
        self._numbers: list[Tensor] = []

    def is_bad(self, number: Tensor) -> bool:
        """Not that anybody knows."""
        self._numbers.append(number)
        return False

    def all_were_finite(self) -> bool:
        """Whether every number so far was finite."""
        return not self._numbers or bool(torch.isfinite(torch.stack(self._numbers)).all())


def fields_of(batch: Batch) -> dict[str, Any]:
    """The trees of a rollout's batch by their names; its memory and numbers are kept apart."""
    names = (field.name for field in fields(batch) if field.name not in ("memory", "stage_steps"))
    return {name: value for name in names if (value := getattr(batch, name)) is not None}


def explained(error: NonFiniteError, failed: FailedUpdate, model: nn.Module, workers: WorkerGroup) -> NonFiniteError:
    """The error, which says more: which loss, and the first bad tensor. Called by all workers together."""
    words = [f"loss/{name} = {value}" for name, value in failed.losses.items() if not math.isfinite(value)]
    bad = {"batch": first_bad(failed.tensors()), "model": first_bad(model.state_dict())}
    words += [f"first bad tensor: the {whose}'s {name}" for whose, name in bad.items() if name]
    told = workers.gather("; ".join(words))
    own = [f"{text} (worker {rank})" if len(told) > 1 else text for rank, text in enumerate(told) if text]
    error.message = "; ".join([error.message, *own[:1]])
    error.evidence = failed
    return error


def first_bad(tensors: Mapping[str, Tensor]) -> str | None:
    """The name of the first tensor with an entry that is not finite, or None."""
    return next((name for name, tensor in tensors.items() if count_bad(tensor)), None)


def count_bad(tensor: Tensor) -> int:
    """How many entries are not finite."""
    return int((~torch.isfinite(tensor)).sum()) if tensor.is_floating_point() else 0


def write_dump(directory: Path, failed: FailedUpdate, model: nn.Module, about: dict[str, Any]) -> None:
    """Write what `debug_dump` repeats the update from; an older dump there is replaced. Raises `OSError`."""
    shutil.rmtree(directory, ignore_errors=True)
    directory.mkdir(parents=True)
    (directory / BATCH).write_bytes(encode_model(failed.tensors()))
    (directory / MODEL).write_bytes(encode_model(model.state_dict()))
    losses = {name: value if math.isfinite(value) else repr(value) for name, value in failed.losses.items()}
    content = {
        **about,
        "kind": failed.kind,
        "stage_steps": failed.stage_steps,
        "losses": losses,
        "batch": failed.names(),
    }
    (directory / DUMP).write_text(json.dumps({**content, "versions": versions()}, indent=2) + "\n", "utf-8")
