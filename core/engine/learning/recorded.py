"""RecordedGradients: the gradient of weighted losses, from a recording of the operations that lead to it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call

from ...tree import filled, leaves
from ..collecting.rollout import Rollout
from ..seeding import untouched_global_random_state
from .graph_step import GraphStep
from .minibatch import Minibatch, taken
from .scheduled import Schedules, TimelessBatch
from .tape import NotRepeatable, Repeat, record
from .weighing import Gradients, Numbers, WeightedLoss, weigh
from .weights import Weights

OUR_CODE = (f"{__name__.partition('.engine.')[0]}.", "torch.nn.modules.")
WITH_STATE = (nn.modules.batchnorm._NormBase, nn.modules.rnn.RNNBase)
"""Modules of torch that do more than their inputs and parameters say."""


def repeats_itself(model: nn.Module, losses: Sequence[WeightedLoss]) -> bool:
    """Whether Python decides nothing on the way from a batch to its losses but by the batch's shapes.

    That is known of the modules and losses of trainctl and of torch; others may count, or ask for the time. A class of
    a user promises it with `repeats_itself = True`, for itself and not for classes made from it.
    """
    parts: list[Any] = [*model.modules(), *(item.loss for item in losses)]
    hooks = any(module._forward_hooks or module._forward_pre_hooks for module in model.modules())
    return not hooks and all(_is_known(type(part)) for part in parts)


def _is_known(kind: type) -> bool:
    is_ours = kind.__module__.startswith(OUR_CODE) and not issubclass(kind, WITH_STATE)
    return is_ours or vars(kind).get("repeats_itself") is True


class RecordedGradients(Gradients):
    """The same bits for a third of the time where the model is small: see `tape.record`.

    Recorded once for each size of minibatch, before the stage's first update. Everything else is computed step by
    step: models and losses that need not repeat themselves, and minibatches of other sizes.
    """

    def __init__(self, model: nn.Module, weights: Weights, losses: Sequence[WeightedLoss]) -> None:
        super().__init__(model, weights, losses)
        self._recordings: dict[int, _Recording] = {}  # by the number of units in a minibatch

    def prepare(self, rollout: Rollout, count: int, step: GraphStep | None = None) -> None:
        if self.weights.vectors[0].device.type != "cpu" or not repeats_itself(self.model, self.losses):
            return
        with untouched_global_random_state():
            for example in rollout.examples(count):
                try:
                    self._recordings[len(example.index)] = _recorded(self.model, self.weights, self.losses, example)
                except NotRepeatable:
                    return

    def __call__(self, minibatch: Minibatch) -> Numbers:
        recording = self._recordings.get(len(minibatch.index))
        if recording is None or "valid" in minibatch.content:
            return super().__call__(minibatch)
        scheduled = recording.schedules.at(minibatch.stage_steps)
        *gradients, vector = recording.repeat(*recording.state, *leaves(minibatch.tree()), *scheduled)
        self.weights.take(gradients, recording.used)
        return Numbers(recording.tags, vector)


@dataclass
class _Recording:
    """From the state of the model, trained or not, and a minibatch to the gradient, as vectors, and what is logged.

    used: for each trained parameter, whether the losses depend on it.
    """

    repeat: Repeat
    state: list[Tensor]
    schedules: Schedules
    used: list[bool]
    tags: list[str]


def _recorded(model: nn.Module, weights: Weights, losses: Sequence[WeightedLoss], example: Minibatch) -> _Recording:
    state: dict[str, Tensor] = {**dict(model.named_parameters()), **dict(model.named_buffers())}
    seen, schedules = example.tree(), Schedules(weights.vectors[0].device)
    names, found = list(state), dict[str, Any]()

    def outputs(*inputs: Tensor) -> list[Tensor]:
        own = dict(zip(names, inputs, strict=False))
        content = taken(**filled(seen, inputs[len(names) :]))
        batch = TimelessBatch(value_of=schedules.value_of, **content)
        weighed = weigh(lambda *asked: functional_call(model, own, asked), losses, batch)
        trained = [one for one in inputs[: len(names)] if one.requires_grad]
        gradients = torch.autograd.grad(weighed.total, trained, allow_unused=True)
        logged = weighed.numbers()
        found.update(used=[one is not None for one in gradients], tags=logged.tags)
        return [*weights.joined(gradients), logged.vector]

    own = [tensor.detach().requires_grad_(tensor.requires_grad) for tensor in state.values()]
    outputs(*own, *leaves(seen))  # finds what is scheduled
    repeat = record(outputs, [*own, *leaves(seen), *schedules.tensors])
    return _Recording(repeat, list(state.values()), schedules, **found)
