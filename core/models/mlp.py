"""MLPActorCritic: for observations that are vectors."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import gymnasium
import numpy as np
from gymnasium import spaces
from torch import nn

from .composed import ComposedActorCritic
from .heads import ValueHead, policy_head
from .layers import HiddenLayers
from .memory import NoMemory, make_memory
from .vectors import VectorEncoder, leaf_spaces, refuse_space


class MLPActorCritic(ComposedActorCritic):
    """Fully connected layers, for Box (flattened), Discrete and MultiDiscrete (one-hot), MultiBinary and Dict
    observations of those (concatenated).

    Without memory, policy and value have hidden layers of their own (as in CleanRL and Stable-Baselines3). With memory
    they share the hidden layers and the memory that follows, and each is linear in what the memory gives.

    * hidden_sizes: the sizes of the hidden layers; () for none.
    * activation: "tanh", "relu", "elu", "gelu" or "silu".
    * memory: None, "gru" or "lstm"; memory_size: the size of its output, without effect where memory is None.
    * normalize_observations: standardise the Box parts by running statistics (see `ObservationNormalizer`).
    * initial_std: the standard deviation of Box actions at first, > 0, in the actions' own units.

    Raises `ExperimentError` for spaces it cannot read, images among them, and for unknown activations and memories.
    """

    def __init__(
        self,
        observation_space: gymnasium.Space[Any],
        action_space: gymnasium.Space[Any],
        hidden_sizes: Sequence[int] = (64, 64),
        activation: str = "tanh",
        memory: str | None = None,
        memory_size: int = 128,
        normalize_observations: bool = False,
        initial_std: float = 1.0,
    ) -> None:
        parts = dict(leaf_spaces(observation_space))
        for path, space in parts.items():
            if isinstance(space, spaces.Box) and space.dtype == np.uint8 and len(space.shape) == 3:
                advice = "use CNNActorCritic for images, or MiniGridActorCritic for MiniGrid's grids"
                raise refuse_space("MLPActorCritic", path, space, advice)
        vectors = VectorEncoder(parts, normalize_observations, "MLPActorCritic")
        sizes = (vectors.size, *hidden_sizes)
        if memory is None:
            hidden = HiddenLayers(sizes, activation)
            policy = nn.Sequential(hidden, policy_head(sizes[-1], action_space, initial_std))
            value = nn.Sequential(HiddenLayers(sizes, activation), ValueHead(sizes[-1]))
            super().__init__(vectors, NoMemory(vectors.size), policy, value)
        else:
            encoder = nn.Sequential(vectors, HiddenLayers(sizes, activation))
            remember = make_memory(memory, sizes[-1], memory_size)
            size = remember.output_size
            super().__init__(encoder, remember, policy_head(size, action_space, initial_std), ValueHead(size))
