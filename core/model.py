"""ActorCritic: what trainctl asks of a model."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn

from .batch import Memory
from .distributions import ActionDistribution
from .tree import Tree


class ActorCriticOutput(NamedTuple):
    """What a model says about T steps of B environments.

    * distribution: over actions, of shape (T, B). One of `trainctl.models` or of torch.distributions.
    * values: (T, B), estimated discounted returns.
    * memory: (B, …) after the last step, None for a model without memory.
    """

    distribution: ActionDistribution | torch.distributions.Distribution
    values: Tensor
    memory: Memory


class ActorCritic(nn.Module):
    """A policy and a value function in one module. Subclass it, or write any nn.Module with this `forward`.

    The experiment's model builder is called with `observation_space` and `action_space` (of one environment).
    """

    def forward(self, observations: Tree, memory: Memory, masks: Tensor) -> ActorCriticOutput:
        """The distribution over actions and the values for T consecutive steps of B environments.

        * observations: tree of (T, B, …), in the environment's own types and units.
        * memory: (B, …) before the first step, or None.
        * masks: (T, B); 0 where an episode begins at that step, so that what came before must be forgotten.
        """
        raise NotImplementedError(f"{type(self).__name__} must define forward(observations, memory, masks)")

    def initial_memory(self, num_environments: int) -> Memory:
        """The memory (B, …) before any step; None (the default) says that the model has none."""
        return None

    def policy(self, observations: Tree, memory: Memory, masks: Tensor) -> tuple[ActionDistribution, Memory]:
        """Only what acting needs: the distribution and the memory. Override it where the value costs extra.

        Acting asks it only where no `forward` was written later, in a class made from this one.
        """
        output = self(observations, memory, masks)
        return output.distribution, output.memory
