"""Heads: from features (T, B, F) to a distribution over actions, or to values."""

from __future__ import annotations

import math
from typing import Any

import gymnasium
import torch
from gymnasium import spaces
from torch import Tensor, nn
from torch.nn import functional as F

from ..distributions import ActionDistribution, Categorical, DiagonalGaussian, MultiCategorical, number_of_parameters
from ..errors import ExperimentError
from .layers import in_float32, orthogonal

POLICY_GAIN = 0.01  # nearly uniform at first


class PolicyHead(nn.Module):
    """Logits or means by one linear layer; see `policy_head` for the one that fits an action space."""

    def __init__(self, input_size: int, action_space: gymnasium.Space[Any]) -> None:
        super().__init__()
        linear = orthogonal(nn.Linear(input_size, number_of_parameters(action_space)), POLICY_GAIN)
        self.weight, self.bias = linear.weight, linear.bias

    def parameters_of(self, features: Tensor) -> Tensor:
        """Logits or means (T, B, n)."""
        return in_float32(F.linear, features, self.weight, self.bias)

    def forward(self, features: Tensor) -> ActionDistribution:
        """The distribution (T, B) for features (T, B, F)."""
        raise NotImplementedError


class CategoricalHead(PolicyHead):
    """For Discrete. Actions count from 0, whatever the space's `start`."""

    def forward(self, features: Tensor) -> Categorical:
        return Categorical(self.parameters_of(features))


class MultiCategoricalHead(PolicyHead):
    """For MultiDiscrete, and for MultiBinary as so many choices between 0 and 1."""

    def __init__(self, input_size: int, action_space: spaces.MultiDiscrete | spaces.MultiBinary) -> None:
        super().__init__(input_size, action_space)
        self.sizes = choice_sizes(action_space)

    def forward(self, features: Tensor) -> MultiCategorical:
        return MultiCategorical(self.parameters_of(features), self.sizes)


class GaussianHead(PolicyHead):
    """For Box. The standard deviation does not depend on the observation (Schulman et al. 2015,
    https://arxiv.org/abs/1502.05477, and the libraries after it). `ExperimentError` if initial_std is not above 0."""

    def __init__(self, input_size: int, action_space: spaces.Box, initial_std: float) -> None:
        super().__init__(input_size, action_space)
        if not 0 < initial_std < math.inf:
            raise ExperimentError(f"initial_std must be above 0, not {initial_std!r}")
        self.log_std = nn.Parameter(torch.full((number_of_parameters(action_space),), math.log(initial_std)))

    def forward(self, features: Tensor) -> DiagonalGaussian:
        return DiagonalGaussian(self.parameters_of(features), self.log_std)


class ValueHead(nn.Module):
    """One value for each step: features (T, B, F) → (T, B)."""

    def __init__(self, input_size: int) -> None:
        super().__init__()
        linear = orthogonal(nn.Linear(input_size, 1), gain=1.0)
        self.weight, self.bias = linear.weight, linear.bias

    def forward(self, features: Tensor) -> Tensor:
        """The values (T, B)."""
        return in_float32(F.linear, features, self.weight, self.bias).squeeze(-1)


def policy_head(input_size: int, action_space: gymnasium.Space[Any], initial_std: float = 1.0) -> PolicyHead:
    """The policy head for an action space. `ExperimentError` where there is none.

    initial_std: of Box actions, in their own units; without effect for others.
    """
    if isinstance(action_space, spaces.Discrete):
        return CategoricalHead(input_size, action_space)
    if isinstance(action_space, (spaces.MultiDiscrete, spaces.MultiBinary)):
        return MultiCategoricalHead(input_size, action_space)
    if isinstance(action_space, spaces.Box):
        return GaussianHead(input_size, action_space, initial_std)
    raise ExperimentError(
        f"no ready model acts in the action space {action_space}",
        "there are heads for Discrete, MultiDiscrete, MultiBinary and Box; wrap the environment so that it has one",
    )


def choice_sizes(action_space: spaces.MultiDiscrete | spaces.MultiBinary) -> list[int]:
    """How many options each choice of the space has, e.g. [3, 2] for MultiDiscrete([3, 2])."""
    if isinstance(action_space, spaces.MultiBinary):
        return [2] * (number_of_parameters(action_space) // 2)
    return [int(size) for size in action_space.nvec.flatten()]
