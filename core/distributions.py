"""Action distributions that are sampled from noise drawn beforehand.

The noise is keyed by run seed, environment and rollout, so that what an environment is given depends neither on
the number of workers nor on what else draws random numbers. One distribution for each kind of action space.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any

import gymnasium
import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

LOG_TAU = math.log(2 * math.pi)


class ActionDistribution(ABC):
    """A distribution over actions for each element of some leading shape (…)."""

    @abstractmethod
    def sample(self, noise: Tensor) -> Tensor:
        """Actions drawn with the given noise (…, n), see `sampling_noise`."""

    @abstractmethod
    def mode(self) -> Tensor:
        """The most probable actions."""

    @abstractmethod
    def log_prob(self, actions: Tensor) -> Tensor:
        """Log-probability (density for Box) of the actions, summed over their components: (…)."""

    @abstractmethod
    def entropy(self) -> Tensor:
        """Entropy in nats, summed over the components: (…)."""


class Categorical(ActionDistribution):
    """One of n actions. logits: (…, n), not necessarily normalised, -inf for what is ruled out. Actions: (…) int64."""

    def __init__(self, logits: Tensor) -> None:
        self.logits = _at_least_float32(logits)
        self._log_probs: Tensor | None = None

    @property
    def log_probs(self) -> Tensor:
        """Normalised log-probabilities (…, n)."""
        if self._log_probs is None:
            self._log_probs = F.log_softmax(self.logits, dim=-1)
        return self._log_probs

    def sample(self, noise: Tensor) -> Tensor:
        """The Gumbel-max trick: the largest of logits + Gumbel noise is distributed as the softmax says."""
        return (self.logits + noise).argmax(dim=-1)

    def mode(self) -> Tensor:
        return self.logits.argmax(dim=-1)

    def log_prob(self, actions: Tensor) -> Tensor:
        return self.log_probs.gather(-1, actions.unsqueeze(-1)).squeeze(-1)

    def entropy(self) -> Tensor:
        # finite, so that a logit of -inf (an action that is ruled out) adds 0 and not 0 × inf
        finite = self.log_probs.clamp(min=torch.finfo(self.log_probs.dtype).min)
        return -(finite.exp() * finite).sum(dim=-1)


class MultiCategorical(ActionDistribution):
    """Several independent choices. logits: (…, sum of sizes). Actions: (…, number of choices) int64."""

    def __init__(self, logits: Tensor, sizes: Sequence[int]) -> None:
        self.sizes = list(sizes)
        self.parts = [Categorical(part) for part in torch.split(logits, self.sizes, dim=-1)]

    def sample(self, noise: Tensor) -> Tensor:
        noises = torch.split(noise, self.sizes, dim=-1)
        return torch.stack([part.sample(own) for part, own in zip(self.parts, noises, strict=True)], dim=-1)

    def mode(self) -> Tensor:
        return torch.stack([part.mode() for part in self.parts], dim=-1)

    def log_prob(self, actions: Tensor) -> Tensor:
        chosen = zip(self.parts, actions.unbind(dim=-1), strict=True)
        return torch.stack([part.log_prob(own) for part, own in chosen]).sum(dim=0)

    def entropy(self) -> Tensor:
        return torch.stack([part.entropy() for part in self.parts]).sum(dim=0)


class DiagonalGaussian(ActionDistribution):
    """A normal distribution for each component. mean: (…, n); log_std: broadcastable to it. Actions: (…, n).

    Actions are not bounded: they are clipped to the action space on their way to the environment, and the
    log-probability is that of the unclipped action, as in Schulman et al. 2017 and the libraries after it.
    """

    def __init__(self, mean: Tensor, log_std: Tensor) -> None:
        self.mean = _at_least_float32(mean)
        self.log_std = log_std

    def sample(self, noise: Tensor) -> Tensor:
        return self.mean + self.log_std.exp() * noise

    def mode(self) -> Tensor:
        return self.mean

    def log_prob(self, actions: Tensor) -> Tensor:
        distance = (actions - self.mean) * torch.exp(-self.log_std)
        return -0.5 * distance.square().sum(dim=-1) - (self._sum_of_log_stds() + 0.5 * LOG_TAU * self.mean.shape[-1])

    def entropy(self) -> Tensor:
        total = self._sum_of_log_stds() + (0.5 + 0.5 * LOG_TAU) * self.mean.shape[-1]
        return total.expand(self.mean.shape[:-1])

    def _sum_of_log_stds(self) -> Tensor:
        """Over the components, before anything is repeated for each element: broadcastable to (…)."""
        return self.log_std.expand(*self.log_std.shape[:-1], self.mean.shape[-1]).sum(dim=-1)


def _at_least_float32(numbers: Tensor) -> Tensor:
    """bfloat16, as autocast makes it, has too few digits for probabilities."""
    return numbers.float() if numbers.dtype == torch.bfloat16 else numbers


class TorchDistribution(ActionDistribution):
    """A distribution of torch.distributions that a user's model gives. It draws from torch's global generator.

    Its batch shape is (…); components that belong to one action are made events with `Independent`.
    """

    def __init__(self, distribution: torch.distributions.Distribution) -> None:
        self.distribution = distribution

    def sample(self, noise: Tensor) -> Tensor:
        return self.distribution.sample()

    def mode(self) -> Tensor:
        return self.distribution.mode

    def log_prob(self, actions: Tensor) -> Tensor:
        return self.distribution.log_prob(actions)

    def entropy(self) -> Tensor:
        return self.distribution.entropy()


def as_action_distribution(
    distribution: ActionDistribution | torch.distributions.Distribution,
) -> ActionDistribution:
    """The distribution itself, or one of torch.distributions under the same four verbs."""
    if isinstance(distribution, torch.distributions.Distribution):
        return TorchDistribution(distribution)
    return distribution


def number_of_parameters(action_space: gymnasium.Space[Any]) -> int:
    """How many numbers a policy head gives for this action space: logits, or means.

    Raises TypeError for spaces other than Discrete, MultiDiscrete, MultiBinary and Box.
    """
    if isinstance(action_space, gymnasium.spaces.Discrete):
        return int(action_space.n)
    if isinstance(action_space, gymnasium.spaces.MultiDiscrete):
        return int(action_space.nvec.sum())
    if isinstance(action_space, gymnasium.spaces.MultiBinary):
        return 2 * int(np.prod(action_space.shape))
    if isinstance(action_space, gymnasium.spaces.Box):
        return int(np.prod(action_space.shape))
    raise TypeError(
        f"no distribution for the action space {action_space}; there are ones for Discrete, MultiDiscrete, "
        "MultiBinary and Box"
    )


def sampling_noise(action_space: gymnasium.Space[Any], generator: np.random.Generator, steps: int) -> np.ndarray:
    """Noise for `steps` samples, (steps, n) float32: standard normal for Box, Gumbel for the others."""
    shape = (steps, number_of_parameters(action_space))
    if isinstance(action_space, gymnasium.spaces.Box):
        return generator.standard_normal(shape, dtype=np.float32)
    waiting = generator.standard_exponential(shape, dtype=np.float32)
    return -np.log(np.maximum(waiting, np.finfo(np.float32).tiny))  # it can be 0, whose logarithm is not finite
