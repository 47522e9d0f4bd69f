"""Memories: what turns the features of each step into features that know the steps before."""

from __future__ import annotations

from abc import ABC, abstractmethod

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ..batch import Memory
from ..errors import ExperimentError, did_you_mean
from .layers import in_float32
from .sequences import GRUSequence, LSTMSequence


class MemoryModule(nn.Module, ABC):
    """Maps features (T, B, input_size), memory (B, M) before the first step and masks (T, B) to features
    (T, B, output_size) and the memory after the last step.

    Where masks[t, b] is 0, an episode begins in sequence b at step t: its memory is forgotten before that step.
    A memory of None stands for zeros, as at the beginning of an episode.
    """

    output_size: int

    @abstractmethod
    def forward(self, features: Tensor, memory: Memory, masks: Tensor) -> tuple[Tensor, Memory]:
        """Features (T, B, output_size) and the memory after the last step."""

    @abstractmethod
    def initial_memory(self, num_environments: int) -> Memory:
        """The memory before any step."""


class NoMemory(MemoryModule):
    """Features pass through unchanged; the memory is None."""

    def __init__(self, input_size: int) -> None:
        super().__init__()
        self.output_size = input_size

    def forward(self, features: Tensor, memory: Memory, masks: Tensor) -> tuple[Tensor, Memory]:
        return features, None

    def initial_memory(self, num_environments: int) -> Memory:
        return None


class RecurrentMemory(MemoryModule):
    """One recurrent layer, stepped through time.

    Not nn.GRU or nn.LSTM over the stretches between resets: with resets every 20 steps in each of 16 environments a
    loop is the faster one on a CPU. Weights are orthogonal and biases zero, as in CleanRL's `ppo_atari_lstm.py`.
    """

    memory_size: int

    def __init__(self, input_size: int, hidden_size: int, gates: int) -> None:
        super().__init__()
        self.output_size = hidden_size
        self.weight_input = nn.Parameter(torch.empty(gates * hidden_size, input_size))
        self.weight_hidden = nn.Parameter(torch.empty(gates * hidden_size, hidden_size))
        self.bias_input = nn.Parameter(torch.zeros(gates * hidden_size))
        self.bias_hidden = nn.Parameter(torch.zeros(gates * hidden_size))
        nn.init.orthogonal_(self.weight_input)
        nn.init.orthogonal_(self.weight_hidden)

    def forward(self, features: Tensor, memory: Memory, masks: Tensor) -> tuple[Tensor, Memory]:
        return in_float32(self._remember, features, memory, masks)  # what is carried on and on must not lose digits

    def _remember(self, features: Tensor, memory: Memory, masks: Tensor) -> tuple[Tensor, Memory]:
        if memory is None:
            memory = features.new_zeros(features.shape[1], self.memory_size)
        if len(features) == 1 and not torch.is_grad_enabled():  # acting
            memory = self.step(features[0], memory * masks[0].unsqueeze(-1))
            return memory[None, :, : self.output_size], memory
        gates = F.linear(features, self.weight_input, self.bias_input)
        return self.sequence(gates, memory, masks.unsqueeze(-1))

    def step(self, features: Tensor, memory: Tensor) -> Tensor:
        """The memory (B, M) after one step with features (B, input_size); its first part is the output."""
        raise NotImplementedError

    def sequence(self, gates: Tensor, memory: Tensor, masks: Tensor) -> tuple[Tensor, Tensor]:
        """The outputs of all steps and the memory after the last, from what the inputs say to the gates."""
        raise NotImplementedError

    def initial_memory(self, num_environments: int) -> Tensor:
        return self.bias_hidden.new_zeros(num_environments, self.memory_size)


class GRUMemory(RecurrentMemory):
    """A gated recurrent unit (Cho et al. 2014, https://arxiv.org/abs/1406.1078). Memory: (B, hidden_size)."""

    def __init__(self, input_size: int, hidden_size: int) -> None:
        super().__init__(input_size, hidden_size, gates=3)
        self.memory_size = hidden_size

    def step(self, features: Tensor, memory: Tensor) -> Tensor:
        weights = (self.weight_input, self.weight_hidden, self.bias_input, self.bias_hidden)
        return torch.gru_cell(features, memory, *weights)

    def sequence(self, gates: Tensor, memory: Tensor, masks: Tensor) -> tuple[Tensor, Tensor]:
        outputs, *_ = GRUSequence.apply(  # type: ignore[no-untyped-call]
            gates, memory, masks, self.weight_hidden, self.bias_hidden
        )
        return outputs, outputs[-1]


class LSTMMemory(RecurrentMemory):
    """Long short-term memory (Hochreiter and Schmidhuber 1997). Memory: (B, 2 · hidden_size), output beside cell."""

    def __init__(self, input_size: int, hidden_size: int) -> None:
        super().__init__(input_size, hidden_size, gates=4)
        self.memory_size = 2 * hidden_size

    def step(self, features: Tensor, memory: Tensor) -> Tensor:
        weights = (self.weight_input, self.weight_hidden, self.bias_input, self.bias_hidden)
        return torch.cat(torch.lstm_cell(features, memory.chunk(2, dim=-1), *weights), dim=-1)

    def sequence(self, gates: Tensor, memory: Tensor, masks: Tensor) -> tuple[Tensor, Tensor]:
        outputs, cell, *_ = LSTMSequence.apply(  # type: ignore[no-untyped-call]
            gates, memory, masks, self.weight_hidden, self.bias_hidden
        )
        return outputs, torch.cat([outputs[-1], cell], dim=-1)


MEMORIES = {"gru": GRUMemory, "lstm": LSTMMemory}


def make_memory(kind: str | None, input_size: int, hidden_size: int) -> MemoryModule:
    """The memory of this name: "gru", "lstm", or None for a model without. `ExperimentError` for other names."""
    if kind is None:
        return NoMemory(input_size)
    if kind not in MEMORIES:
        raise ExperimentError(f"there is no memory {kind!r}", f"{did_you_mean(str(kind), MEMORIES)}, or None")
    if hidden_size < 1:
        raise ExperimentError(f"a memory must have a size of at least 1, not {hidden_size}")
    return MEMORIES[kind](input_size, hidden_size)
