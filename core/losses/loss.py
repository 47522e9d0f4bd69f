"""Loss and OffPolicyLoss: what trainctl asks of a loss."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple, Protocol

from torch import Tensor, nn

from ..batch import Batch, Memory
from ..model import ActorCriticOutput


class LossOutput(NamedTuple):
    """A loss and its named parts.

    * value: scalar tensor with a graph; the learner weighs it and goes backward.
    * info: name -> scalar tensor, logged as `loss/<loss>/<name>`. No graph is kept, no `.item()` is needed.
    * diagnostics: name -> scalar tensor that is no loss, logged as `train/<name>`.
    """

    value: Tensor
    info: dict[str, Tensor]
    diagnostics: Mapping[str, Tensor] = {}  # not a MappingProxyType, which cannot be compiled


class Loss(Protocol):
    """Maps (batch, model output) to a scalar. It knows neither its weight nor the optimizer."""

    def __call__(self, batch: Batch, output: ActorCriticOutput) -> LossOutput:
        """The loss of this minibatch: a mean over the steps that are data."""


class OffPolicyLossOutput(NamedTuple):
    """An off-policy loss, its named parts, and the memory it leaves.

    * value, info: as in `LossOutput`, logged under `off_policy/<loss>/`.
    * memory: handed to the next call (the next loss, then the next batch); detached between batches.
    * batch_size: number of samples the loss is a mean over.
    """

    value: Tensor
    info: dict[str, Tensor]
    memory: Memory
    batch_size: int


class OffPolicyLoss(Protocol):
    """Maps (model, batch of the data iterator, memory) to a scalar."""

    def __call__(self, model: nn.Module, batch: Any, memory: Memory, stage_steps: int) -> OffPolicyLossOutput:
        """The loss of one batch. memory is None for the first batch of an epoch."""
