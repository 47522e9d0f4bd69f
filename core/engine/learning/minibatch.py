"""Minibatch: some of a rollout, put together when it is asked for."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from torch import Tensor

from ...batch import Batch, Memory
from ...tree import Tree, map_tree


@dataclass(frozen=True, slots=True)
class Minibatch:
    """Steps of a rollout, or whole sequences of it where there is memory: units, from here on.

    * content: what a batch holds of each step: tree of (units, …), of (T, units, …) where there is memory.
    * first_memory: (units, …) or None.
    * index: (B,) int64, which units these are.
    * stage_steps: as in `Batch`.
    """

    content: dict[str, Tree]
    first_memory: Memory
    index: Tensor
    stage_steps: int

    def batch(self) -> Batch:
        """Without memory (1, B), with memory (T, B)."""
        return Batch(stage_steps=self.stage_steps, **taken(**self.tree()))

    def tree(self) -> dict[str, Tree]:
        """What `taken` takes, all of it tensors."""
        memory = {} if self.first_memory is None else {"first_memory": self.first_memory}
        return {"content": self.content, "index": self.index, **memory}

    @property
    def size(self) -> int:
        """How many steps are data."""
        if self.first_memory is None:
            return len(self.index)
        if "valid" in self.content:
            return int(self.content["valid"].index_select(1, self.index).sum())
        return len(self.content["actions"]) * len(self.index)


def taken(content: dict[str, Tree], index: Tensor, first_memory: Memory = None) -> dict[str, Any]:
    """The fields of a batch that consists of these units, see `Minibatch`."""
    if first_memory is None:
        return {"memory": None, **map_tree(lambda leaf: leaf.index_select(0, index).unsqueeze(0), content)}
    own = map_tree(lambda leaf: leaf.index_select(1, index), content)
    return {"memory": first_memory.index_select(0, index), **own}
