"""What differs between two trainings that should be the same: every tensor, every counter, every line of metrics."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ..saving.checkpoint import Checkpoint, list_checkpoints
from ..saving.run_directory import RunDirectory

# What the clock says, and how long the files are in which it says so.
_NOT_COMPARED = ("sinks", "progress.seconds")
_CLOCK = ("speed/", "wall_seconds")


@dataclass(frozen=True)
class Difference:
    """Where two trainings differ first.

    * step: total steps. name: of the tensor, the counter or the metric.
    * uninterrupted, resumed: the values, in words.
    """

    step: int
    name: str
    uninterrupted: str
    resumed: str

    def to_json(self) -> dict[str, Any]:
        """As `--json` shows it."""
        return asdict(self)

    def __str__(self) -> str:
        return f"at {self.step:,} steps: {self.name} is {self.uninterrupted} uninterrupted, {self.resumed} resumed"


@dataclass
class Comparison:
    """How much was compared, and the first difference or None."""

    tensors: int = 0
    values: int = 0
    metrics: int = 0
    checkpoints: int = 0
    difference: Difference | None = None


def compare(one: RunDirectory, other: RunDirectory) -> Comparison:
    """Compare the checkpoints that both runs have, in order, and their `metrics.jsonl`; stops where they part.

    A difference in a checkpoint is named before one in the metrics, where both are of the same step.
    """
    done = Comparison()
    found = [
        *_first(_checkpoint_differences(one, other, done)),
        *_first(_metric_differences(_lines(one.metrics), _lines(other.metrics), done)),
    ]
    done.difference = min(found, key=lambda difference: difference.step, default=None)
    return done


def flat_state(checkpoint: Checkpoint) -> dict[str, Any]:
    """Everything a checkpoint holds, as path -> tensor, number or text."""
    state: dict[str, Any] = {"model": checkpoint.model(), **checkpoint.shared()}
    for rank in range(checkpoint.manifest["workers"]):
        state |= {f"{name} of worker {rank}": part for name, part in checkpoint.own(rank).items()}
    return {path: leaf for path, leaf in _leaves(state, "") if not path.startswith(_NOT_COMPARED)}


def is_same(one: Any, other: Any) -> bool:
    """Whether two leaves have the same type and the same bits."""
    if isinstance(one, Tensor) and isinstance(other, Tensor):
        same_kind = one.dtype == other.dtype and one.shape == other.shape
        return same_kind and torch.equal(_bits(one), _bits(other))
    if isinstance(one, float) and isinstance(other, float) and math.isnan(one):
        return math.isnan(other)
    return type(one) is type(other) and bool(one == other)


def _first(differences: Iterator[Difference]) -> list[Difference]:
    return [difference for difference in [next(differences, None)] if difference]


def _checkpoint_differences(one: RunDirectory, other: RunDirectory, done: Comparison) -> Iterator[Difference]:
    theirs = {path.name: path for path in list_checkpoints(other.checkpoints)}
    mine = list_checkpoints(one.checkpoints)
    for path in mine:
        if path.name in theirs:
            a, b = Checkpoint.open(path), Checkpoint.open(theirs[path.name])
            done.checkpoints += 1
            yield from _differences(a.step, flat_state(a), flat_state(b), done)
    ends = [paths[-1].name if paths else "none" for paths in (mine, list(theirs.values()))]
    if ends[0] != ends[1]:
        yield Difference(min(_step(name) for name in ends), "the last checkpoint", *ends)


def _step(name: str) -> int:
    return 0 if name == "none" else int(name.removeprefix("step-"))


def _differences(step: int, one: dict[str, Any], other: dict[str, Any], done: Comparison) -> Iterator[Difference]:
    for name in dict.fromkeys([*one, *other]):
        a, b = one.get(name, "missing"), other.get(name, "missing")
        done.tensors += isinstance(a, Tensor)
        done.values += not isinstance(a, Tensor)
        if not is_same(a, b):
            yield Difference(step, name, *_in_words(a, b))


def _metric_differences(one: list[Any], other: list[Any], done: Comparison) -> Iterator[Difference]:
    for number in range(max(len(one), len(other))):
        a, b = (lines[number] if number < len(lines) else {} for lines in (one, other))
        step = int((a or b)["total_steps"])
        for name in dict.fromkeys([*a, *b]):
            done.metrics += 1
            if not is_same(a.get(name), b.get(name)):
                yield Difference(step, f"{name} in metrics.jsonl", str(a.get(name)), str(b.get(name)))


def _lines(path: Path) -> list[dict[str, Any]]:
    """The lines of `metrics.jsonl`, each as name -> value, without what the clock says."""
    if not path.is_file():
        return []
    lines = [dict(_leaves(json.loads(line), "")) for line in path.read_text("utf-8").splitlines()]
    return [
        {_metric_name(name): value for name, value in line.items() if not _metric_name(name).startswith(_CLOCK)}
        for line in lines
    ]


def _metric_name(path: str) -> str:
    return path.removeprefix("means.")


def _leaves(tree: Any, path: str) -> Iterator[tuple[str, Any]]:
    items: Any = tree.items() if isinstance(tree, Mapping) else enumerate(tree) if _is_list(tree) else None
    if items is None:
        yield path, tree
        return
    for key, value in items:
        yield from _leaves(value, f"{path}.{key}" if path else str(key))


def _is_list(tree: Any) -> bool:
    return isinstance(tree, (list, tuple))


def _bits(tensor: Tensor) -> Tensor:
    return tensor.contiguous().view(-1).view(torch.uint8) if tensor.numel() else tensor


def _in_words(one: Any, other: Any) -> tuple[str, str]:
    """Two values, or the first entries in which two tensors of the same shape differ."""
    if not (isinstance(one, Tensor) and isinstance(other, Tensor) and one.shape == other.shape and one.numel()):
        return _described(one), _described(other)
    a, b = one.reshape(-1), other.reshape(-1)
    # of two NaN with other bits, or two zeros of other signs, none is unequal: then the first entry is shown
    index = int((a != b).nonzero()[0]) if bool((a != b).any()) else 0
    return f"{a[index].item()!r} (entry {index})", f"{b[index].item()!r} (entry {index})"


def _described(value: Any) -> str:
    if isinstance(value, Tensor):
        return f"a tensor of shape {tuple(value.shape)} and {value.dtype}"
    return repr(value)
