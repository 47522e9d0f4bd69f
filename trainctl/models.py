"""Ready actor-critics, what an own one has to look like, and the distributions it can give."""

from .core.distributions import ActionDistribution, Categorical, DiagonalGaussian, MultiCategorical
from .core.model import ActorCritic, ActorCriticOutput
from .core.models import (
    CNNActorCritic,
    ComposedActorCritic,
    EncoderActorCritic,
    GRUMemory,
    LSTMMemory,
    MemoryModule,
    MiniGridActorCritic,
    MLPActorCritic,
    NoMemory,
    ObservationNormalizer,
    PolicyHead,
    ValueHead,
    make_memory,
    policy_head,
)

__all__ = [
    "ActionDistribution",
    "ActorCritic",
    "ActorCriticOutput",
    "CNNActorCritic",
    "Categorical",
    "ComposedActorCritic",
    "DiagonalGaussian",
    "EncoderActorCritic",
    "GRUMemory",
    "LSTMMemory",
    "MLPActorCritic",
    "MemoryModule",
    "MiniGridActorCritic",
    "MultiCategorical",
    "NoMemory",
    "ObservationNormalizer",
    "PolicyHead",
    "ValueHead",
    "make_memory",
    "policy_head",
]
