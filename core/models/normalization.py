"""Running normalisation of observations. It lives in the model, so it is saved and evaluated with it."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import cast

import torch
from gymnasium import spaces
from torch import Tensor, nn

from ..tree import Tree, flatten


class BoxVector(nn.Module):
    """The Box parts of an observation, flattened and concatenated to one float32 vector, in their own units.

    boxes: the spaces by their path in the observation (see `tree.flatten`); {"": box} for an observation that is one.
    """

    def __init__(self, boxes: Mapping[str, spaces.Box]) -> None:
        super().__init__()
        self.boxes = [(path, len(box.shape), math.prod(box.shape)) for path, box in boxes.items()]
        self.size = sum(size for _, _, size in self.boxes)
        self.plain = list(boxes) == [""] and len(boxes[""].shape) == 1

    def forward(self, observations: Tree) -> Tensor:
        """Vectors (…, size) for observations with any leading shape."""
        return self.concatenate(observations).float()

    def concatenate(self, observations: Tree) -> Tensor:
        """Vectors (…, size) in the observations' own types."""
        if self.plain:
            return cast(Tensor, observations)
        leaves = flatten(observations)
        parts = []
        for path, dimensions, size in self.boxes:
            leaf = leaves[path]
            parts.append(leaf.reshape(*leaf.shape[: leaf.dim() - dimensions], size))
        return parts[0] if len(parts) == 1 else torch.cat(parts, dim=-1)


class ObservationNormalizer(BoxVector):
    """A `BoxVector` with mean 0 and variance 1, clipped to ±10, by the mean and variance of all observations so far.

    The statistics change only in `update`, never in `forward`. Before the first update vectors pass unchanged. Once
    per rollout, with workers that add up what they measured:

        count, total, total_squared = normalizer.measure(observations)
        normalizer.update(count, total, total_squared)
    """

    mean: Tensor
    var: Tensor
    count: Tensor

    def __init__(self, boxes: Mapping[str, spaces.Box], clip: float = 10.0, epsilon: float = 1e-8) -> None:
        super().__init__(boxes)
        self.clip = clip
        self.epsilon = epsilon
        self.register_buffer("mean", torch.zeros(self.size, dtype=torch.float64))
        self.register_buffer("var", torch.ones(self.size, dtype=torch.float64))
        self.register_buffer("count", torch.zeros((), dtype=torch.float64))

    def forward(self, observations: Tree) -> Tensor:
        """Vectors (…, size), float32."""
        raw = self.concatenate(observations)
        raw = raw.float() if raw.dtype == torch.bool else raw  # from which torch subtracts nothing
        normal = ((raw - self.mean) * torch.rsqrt(self.var + self.epsilon)).clamp(-self.clip, self.clip)
        return torch.where(self.count > 0, normal, raw).float()

    @torch.no_grad()
    def measure(self, observations: Tree) -> tuple[Tensor, Tensor, Tensor]:
        """Count (), total (size,) and squared total (size,) of the observations, float64, for `update`.

        Totals are of the distances to the present mean, which keeps their squares small (variances of numbers far
        from zero would drown in rounding) and is why nothing may be updated between measuring and adding up.
        """
        distances = self.concatenate(observations).reshape(-1, self.size).double() - self.mean
        return self.count.new_tensor(len(distances)), distances.sum(dim=0), distances.square().sum(dim=0)

    @torch.no_grad()
    def update(self, count: Tensor | float, total: Tensor, total_squared: Tensor) -> None:
        """Merge what `measure` gave (the sum of it over workers) into the statistics. A count of 0 changes nothing.

        The parallel formula of Chan et al. 1979, "Updating formulae and a pairwise algorithm for computing sample
        variances". The variance is the population's (division by the count).
        """
        count = torch.as_tensor(count, dtype=torch.float64, device=self.count.device)
        delta = total / count.clamp(min=1)
        squares = total_squared - delta * total
        all_counts = (self.count + count).clamp(min=1)
        spread = self.var * self.count + squares + delta.square() * self.count * count / all_counts
        self.mean += delta * count / all_counts
        self.var.copy_(torch.where(self.count + count > 0, spread / all_counts, self.var))
        self.count += count
