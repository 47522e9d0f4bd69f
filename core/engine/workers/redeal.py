"""What each worker of a checkpoint had, dealt anew to another number of workers."""

from __future__ import annotations

from typing import Any

import torch

from ...metrics import ScalarMeanTracker
from ...tree import map_tree
from ..saving.checkpoint import Checkpoint
from .workers import WorkerGroup


def own_states(checkpoint: Checkpoint, workers: WorkerGroup, indices: range) -> dict[str, Any]:
    """What this worker had; dealt anew if there were more or fewer workers."""
    before = checkpoint.manifest["workers"]
    if before == workers.world_size:
        return checkpoint.own(workers.rank)
    return redealt([checkpoint.own(rank) for rank in range(before)], indices, workers.rank)


def redealt(states: list[dict[str, Any]], indices: range, rank: int) -> dict[str, Any]:
    """The parts' states for the worker of this rank, which has the environments with these global indices.

    states: what each worker of the checkpoint had, by rank. Environments keep their episodes, sums are kept by the
    first worker, and data iterators begin their epoch anew. A part that is missing keeps what it has.
    """
    parts = {name: [state[name] for state in states] for name in states[0]}
    dealt = {
        "collector": _collector(parts["collector"], indices),
        "off_policy": _off_policy(parts["off_policy"][0]),
        "failures": {"total": sum(state["total"] for state in parts["failures"]) if rank == 0 else 0},
        "metrics": _metrics(parts["metrics"]) if rank == 0 else {},
        "rewards": _rewards(parts["rewards"], indices),
    }
    return dealt | ({"random": parts["random"][rank]} if rank < len(states) else {})


def _collector(states: list[dict[str, Any]], indices: range) -> dict[str, Any]:
    environments: dict[str, Any] = {}
    for state in states:
        environments |= state["environments"]
    if "resets" in environments:  # of vector environments, which cannot be taken apart: new ones begin anew
        environments = {"resets": max(state["environments"]["resets"] for state in states)}
    return {
        "environments": environments,
        "episodes": [episode for state in states for episode in state.get("episodes", [])]
        if indices.start == 0
        else [],
        "observations": map_tree(lambda *own: _own(own, indices), *(state["observations"] for state in states)),
        "masks": _own([state["masks"] for state in states], indices),
        "memory": None if states[0]["memory"] is None else _own([state["memory"] for state in states], indices),
    }


def _off_policy(state: dict[str, Any]) -> dict[str, Any]:
    return {"epoch": state["epoch"], "position": 0, "memory": None} if state else {}


def _metrics(states: list[dict[str, Any]]) -> dict[str, Any]:
    total = ScalarMeanTracker()
    for state in states:
        total.add_sums_and_counts(state)
    return total.state_dict()


def _rewards(states: list[dict[str, Any]], indices: range) -> dict[str, Any]:
    if not states[0]:
        return {}
    return {**states[0], "discounted": _own([state["discounted"] for state in states], indices)}


def _own(tensors: Any, indices: range) -> torch.Tensor:
    return torch.cat(list(tensors))[indices.start : indices.stop]
