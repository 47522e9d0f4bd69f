"""Actors: from observations and noise drawn beforehand to actions."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from ..batch import Memory
from ..distributions import as_action_distribution
from ..models.mlp import MLPActorCritic
from ..models.numpy_policy import NumpyPolicy
from .rollout import Rollout


class Actor:
    """Acts with any model: by its `policy`, or by its `forward` where it has none."""

    def __init__(self, model: nn.Module) -> None:
        self.model = model
        self.policy: Any = getattr(model, "policy", None) or self._without_values

    def begin(self, noise: np.ndarray, device: torch.device) -> None:
        """A rollout begins, with this noise (T, N, n)."""
        self.noise: tuple[Tensor, ...] = torch.from_numpy(noise[:, None]).to(device).unbind()

    def act(self, rollout: Rollout, t: int, memory: Memory) -> tuple[np.ndarray, Memory]:
        """The actions of step t (N, …), and the memory after it."""
        distribution, memory = self.policy(rollout.step_observations[t], memory, rollout.step_masks[t])
        return as_action_distribution(distribution).sample(self.noise[t])[0].numpy(force=True), memory

    def _without_values(self, observations: Any, memory: Memory, masks: Tensor) -> tuple[Any, Memory]:
        distribution, _, memory = self.model(observations, memory, masks)
        return distribution, memory


class NumpyActor(Actor):
    """Acts with a small network on a CPU, see `NumpyPolicy`."""

    def __init__(self, model: MLPActorCritic) -> None:
        super().__init__(model)
        self.numpy_policy = NumpyPolicy(model)

    def begin(self, noise: np.ndarray, device: torch.device) -> None:
        self.rows = list(noise)
        self.numpy_policy.begin()

    def act(self, rollout: Rollout, t: int, memory: Memory) -> tuple[np.ndarray, Memory]:
        return self.numpy_policy(rollout.host_observations[t], self.rows[t]), None


def actor_of(model: nn.Module, num_envs: int) -> Actor:
    """The fastest actor that there is for this model."""
    if isinstance(model, MLPActorCritic) and NumpyPolicy.fits(model, num_envs):
        return NumpyActor(model)
    return Actor(model)
