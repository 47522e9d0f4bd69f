"""How observations and actions of a gymnasium space are laid out in arrays."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import gymnasium
import numpy as np
from gymnasium import spaces

from ...errors import ExperimentError
from ...tree import Tree, map_tree


def observation_layout(space: gymnasium.Space[Any]) -> Tree:
    """An empty example (np.ndarray of the right shape and type) for each leaf of an observation of this space.

    float64 becomes float32, which is what models compute in. Raises ExperimentError for spaces without an array form.
    """
    if isinstance(space, spaces.Dict):
        return {key: observation_layout(part) for key, part in space.items()}
    if isinstance(space, (spaces.Box, spaces.MultiBinary, spaces.MultiDiscrete)):
        return np.zeros(space.shape, _storage_type(space.dtype))
    if isinstance(space, spaces.Discrete):
        return np.zeros((), np.int64)
    raise ExperimentError(
        f"observations of the space {space} cannot be stored as arrays",
        "wrap the environment so that it gives Box, Discrete, MultiDiscrete, MultiBinary or a Dict of these; "
        "for MiniGrid's mission text there is trainctl.wrappers.TokenizedMission",
    )


def action_layout(space: gymnasium.Space[Any]) -> np.ndarray:
    """An empty example of one action as the policy gives it: () int64, (k,) int64, or (k,) float32 for Box."""
    if isinstance(space, spaces.Discrete):
        return np.zeros((), np.int64)
    if isinstance(space, (spaces.MultiDiscrete, spaces.MultiBinary)):
        return np.zeros(int(np.prod(space.shape)), np.int64)
    if isinstance(space, spaces.Box):
        return np.zeros(int(np.prod(space.shape)), np.float32)
    raise ExperimentError(
        f"no model here gives actions of the space {space}",
        "wrap the environment so that it takes Discrete, MultiDiscrete, MultiBinary or Box actions",
    )


def allocate(layout: Tree, *leading: int) -> Tree:
    """Arrays of zeros with the leading shape in front of each leaf's own."""
    return map_tree(lambda leaf: np.zeros((*leading, *leaf.shape), leaf.dtype), layout)


def as_array(values: Any) -> np.ndarray:
    """The values as NumPy array; simulators may give torch tensors, on a device."""
    return np.asarray(values.cpu() if hasattr(values, "cpu") else values)


def writer(layout: Tree) -> Callable[[Tree, int, Any], None]:
    """A function (rows, index, observation) that writes one environment's observation into its row."""
    if not isinstance(layout, dict):
        return _write_array
    parts = {key: writer(part) for key, part in layout.items()}

    def write_parts(rows: Tree, index: int, observation: Any) -> None:
        for key, write in parts.items():
            write(rows[key], index, observation[key])

    return write_parts


def _write_array(rows: np.ndarray, index: int, observation: Any) -> None:
    rows[index] = observation


def to_environment(space: gymnasium.Space[Any]) -> Callable[[np.ndarray], np.ndarray]:
    """A function that turns the policy's actions (N, …) into the environment's: reshaped, shifted, clipped.

    Its result shares no memory with its argument, so that actions may be kept.
    """
    if isinstance(space, spaces.Discrete):
        start = int(space.start)
        return lambda actions: actions + start
    if isinstance(space, spaces.Box):
        low, high, shape, dtype = space.low, space.high, space.shape, space.dtype
        return lambda actions: np.clip(actions.reshape(-1, *shape), low, high).astype(dtype, copy=False)
    own_shape, own_dtype = space.shape or (), space.dtype
    if isinstance(space, spaces.MultiDiscrete):
        starts = space.start
        return lambda actions: (actions.reshape(-1, *own_shape) + starts).astype(own_dtype)
    return lambda actions: actions.reshape(-1, *own_shape).astype(own_dtype)


def from_environment(space: gymnasium.Space[Any], action: Any) -> np.ndarray:
    """An action of the environment as the policy would give it. Raises ValueError if it is not in the space."""
    given = np.asarray(action)
    dtype = np.dtype(space.dtype)
    array = given.astype(dtype) if np.can_cast(given.dtype, dtype, "same_kind") else given
    if not space.contains(array if space.shape else array.item()):
        raise ValueError(f"{action!r} is not in {space}")
    if isinstance(space, spaces.Discrete):
        return array.astype(np.int64).reshape(()) - int(space.start)
    if isinstance(space, spaces.MultiDiscrete):
        array = array - space.start
    return array.reshape(-1).astype(action_layout(space).dtype)


def is_same_space(one: gymnasium.Space[Any], other: gymnasium.Space[Any]) -> bool:
    """Whether elements of both spaces mean the same. float32 and float64 are alike here."""
    if isinstance(one, spaces.Dict) and isinstance(other, spaces.Dict):
        return set(one) == set(other) and all(is_same_space(part, other[key]) for key, part in one.items())
    if isinstance(one, spaces.Box) and isinstance(other, spaces.Box) and one.shape == other.shape:
        bounds = ((one.low, other.low), (one.high, other.high))
        alike = all(np.array_equal(a.astype(np.float32), b.astype(np.float32)) for a, b in bounds)
        return alike and _storage_type(one.dtype) == _storage_type(other.dtype)
    return bool(one == other)


def _storage_type(dtype: Any) -> Any:
    return np.float32 if np.issubdtype(dtype, np.floating) else dtype
