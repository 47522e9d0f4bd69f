"""Shown: what the environments show the model in a rollout, and how it comes to the device that computes."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from ...tree import Tree, map_tree
from ..environments import allocate

EVERYTHING = slice(None)
ALIGNMENT = 16
"""Bytes: a GPU reads numbers that lie at a multiple of this the fastest."""


class Shown:
    """Observations, tree of (T, N, …), and masks (T, N), twice: as arrays for the environments, as tensors for the
    model. Here both are the same memory.

    * layout: an empty example of each leaf of an observation.
    """

    def __init__(self, layout: Tree, num_steps: int, num_envs: int) -> None:
        self.host_observations: Tree = allocate(layout, num_steps, num_envs)
        self.host_masks = np.ones((num_steps, num_envs), np.float32)
        self.observations: Tree = map_tree(torch.from_numpy, self.host_observations)
        self.masks = torch.from_numpy(self.host_masks)

    def upload(self, t: int, part: slice = EVERYTHING) -> None:
        """Bring step t of some environments to the device, if that is elsewhere."""


class ShownToGPU(Shown):
    """All that an environment shows at a step lies together, as one record of bytes, so a step of all environments is
    one transfer, from pinned memory and without waiting for it. Observations and masks are views of these records.
    """

    def __init__(self, layout: Tree, num_steps: int, num_envs: int, device: torch.device) -> None:
        self._record_size = 0
        places = map_tree(self._place, {"observations": layout, "masks": np.ones((), np.float32)})
        shape = num_steps, num_envs, self._record_size
        self._host = torch.zeros(shape, dtype=torch.uint8, pin_memory=device.type == "cuda")
        self._on_device = torch.zeros(shape, dtype=torch.uint8, device=device)
        here, there = (map_tree(lambda place, own=own: place.of(own), places) for own in (self._host, self._on_device))
        self.host_observations = map_tree(Tensor.numpy, here["observations"])
        self.host_masks = here["masks"].numpy()
        self.host_masks[:] = 1.0
        self.observations, self.masks = there["observations"], there["masks"]

    def _place(self, example: np.ndarray) -> _Place:
        start, kind = self._record_size, torch.from_numpy(example[None]).dtype
        self._record_size += math.ceil(example.nbytes / ALIGNMENT) * ALIGNMENT
        return _Place(start, start + example.nbytes, kind, example.shape)

    def upload(self, t: int, part: slice = EVERYTHING) -> None:
        self._on_device[t, part].copy_(self._host[t, part], non_blocking=True)


class _Place(NamedTuple):
    """The bytes of a leaf in each record, and what they are."""

    start: int
    stop: int
    kind: torch.dtype
    shape: tuple[int, ...]

    def of(self, records: Tensor) -> Tensor:
        """The leaf (T, N, …) of records (T, N, bytes), as a view."""
        own = records[..., self.start : self.stop].view(self.kind)
        return own.view(*records.shape[:2], *self.shape)


def shown_to(device: torch.device, layout: Tree, num_steps: int, num_envs: int) -> Shown:
    """The memory for a model on this device."""
    if device.type == "cpu":
        return Shown(layout, num_steps, num_envs)
    return ShownToGPU(layout, num_steps, num_envs, device)
