"""Ready actor-critics, and the parts to compose your own."""

from .cnn import CNNActorCritic
from .composed import ComposedActorCritic, EncoderActorCritic
from .heads import PolicyHead, ValueHead, policy_head
from .memory import GRUMemory, LSTMMemory, MemoryModule, NoMemory, make_memory
from .minigrid import MiniGridActorCritic
from .mlp import MLPActorCritic
from .normalization import ObservationNormalizer

__all__ = [
    "CNNActorCritic",
    "ComposedActorCritic",
    "EncoderActorCritic",
    "GRUMemory",
    "LSTMMemory",
    "MLPActorCritic",
    "MemoryModule",
    "MiniGridActorCritic",
    "NoMemory",
    "ObservationNormalizer",
    "PolicyHead",
    "ValueHead",
    "make_memory",
    "policy_head",
]
