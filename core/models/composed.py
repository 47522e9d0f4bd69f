"""ComposedActorCritic: the frame of all ready models, and of your own ones that differ only in the encoder."""

from __future__ import annotations

from typing import Any

import gymnasium
from torch import Tensor, nn

from ..batch import Memory
from ..distributions import ActionDistribution
from ..model import ActorCritic, ActorCriticOutput
from ..tree import Tree
from .heads import ValueHead, policy_head
from .memory import MemoryModule, make_memory


class ComposedActorCritic(ActorCritic):
    """observations → encoder → memory → policy and value.

    * encoder: maps observations (tree of (T, B, …)) to features (T, B, F).
    * memory: see `MemoryModule`.
    * policy: maps features to an action distribution of shape (T, B).
    * value: maps features to values (T, B).
    """

    def __init__(self, encoder: nn.Module, memory: MemoryModule, policy: nn.Module, value: nn.Module) -> None:
        super().__init__()
        self.encoder = encoder
        self.memory = memory
        self.policy_head = policy
        self.value_head = value

    def forward(self, observations: Tree, memory: Memory, masks: Tensor) -> ActorCriticOutput:
        features, memory = self.memory(self.encoder(observations), memory, masks)
        return ActorCriticOutput(self.policy_head(features), self.value_head(features), memory)

    def policy(self, observations: Tree, memory: Memory, masks: Tensor) -> tuple[ActionDistribution, Memory]:
        features, memory = self.memory(self.encoder(observations), memory, masks)
        return self.policy_head(features), memory

    def initial_memory(self, num_environments: int) -> Memory:
        return self.memory.initial_memory(num_environments)


class EncoderActorCritic(ComposedActorCritic):
    """A `ComposedActorCritic` with linear heads on what encoder and memory give.

    * encoder: maps observations (tree of (T, B, …)) to features (T, B, encoder_size).
    * memory: None, "gru" or "lstm"; memory_size: the size of its output.
    """

    def __init__(
        self,
        encoder: nn.Module,
        encoder_size: int,
        action_space: gymnasium.Space[Any],
        memory: str | None = None,
        memory_size: int = 128,
    ) -> None:
        remember = make_memory(memory, encoder_size, memory_size)
        size = remember.output_size
        super().__init__(encoder, remember, policy_head(size, action_space), ValueHead(size))
