"""From a minibatch to the gradient of its weighted losses."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from ...batch import Batch
from ...errors import ExperimentError
from ...losses.loss import LossOutput
from ..collecting.rollout import Rollout
from .graph_step import GraphStep
from .minibatch import Minibatch
from .weights import Weights


class WeightedLoss(NamedTuple):
    """A loss of the current stage: its name in the pipeline, its weight, the loss itself."""

    name: str
    weight: float
    loss: Callable[..., Any]


class Numbers(NamedTuple):
    """Scalars by their tags, in one vector of float32: many minibatches are else thousands of tensors."""

    tags: Sequence[str]
    vector: Tensor


class Weighed(NamedTuple):
    """What the losses say about a minibatch: their weighted sum, the value of each, and what is logged of them, first
    the sum."""

    total: Tensor
    values: dict[str, Tensor]
    logged: dict[str, Tensor]

    def numbers(self) -> Numbers:
        """What is logged."""
        return numbers(self.logged, self.total.device)


def numbers(logged: Mapping[str, Any], device: torch.device) -> Numbers:
    """These scalars, numbers or tensors, without their graph."""
    found = [torch.as_tensor(number, device=device).detach().float() for number in logged.values()]
    return Numbers(list(logged), torch.stack(found))


def weigh(model: Callable[..., Any], losses: Sequence[WeightedLoss], batch: Batch) -> Weighed:
    """Forward, and the losses. Raises ExperimentError for one that is not a number with a graph."""
    output = model(batch.observations, batch.memory, batch.masks)
    results = [(item, _checked(item.name, item.loss(batch, output))) for item in losses]
    weighted = [result.value if item.weight == 1 else item.weight * result.value for item, result in results]
    total = weighted[0] if len(weighted) == 1 else torch.stack(weighted).sum()
    logged = {"loss/total": total}
    for item, result in results:
        logged |= {f"loss/{item.name}/{part}": value for part, value in result.info.items()}
        logged |= {f"train/{part}": value for part, value in result.diagnostics.items()}
    return Weighed(total, {item.name: result.value for item, result in results}, logged)


def _checked(name: str, result: Any) -> LossOutput:
    if not isinstance(result, LossOutput) or not isinstance(result.value, Tensor):
        raise ExperimentError(
            f"the loss {name!r} returned {result!r}", "return LossOutput(value, info), value a scalar"
        )
    if result.value.dim() > 0:
        raise ExperimentError(
            f"the loss {name!r} returned a value of shape {tuple(result.value.shape)}",
            "a loss is one number: return its mean, e.g. batch.mean(…)",
        )
    if not torch.compiler.is_compiling() and not result.value.requires_grad:
        raise ExperimentError(
            f"the value of the loss {name!r} has no graph: nothing could be learned from it",
            "compute it from the model's output, without detach() or no_grad()",
        )
    return result


class Gradients:
    """Sets the gradients of the parameters to those of the weighted losses; None where the losses do not depend on one.

    * losses: all of a stage; at least one.
    """

    def __init__(self, model: nn.Module, weights: Weights, losses: Sequence[WeightedLoss]) -> None:
        self.model, self.weights, self.losses = model, weights, losses

    def __call__(self, minibatch: Minibatch) -> Numbers:
        """What is logged of the losses of this minibatch, first their total."""
        weighed = weigh(self.model, self.losses, minibatch.batch())
        self.weights.backward(weighed.total)
        return weighed.numbers()

    def descend(self, minibatch: Minibatch, step: Callable[[Tensor, int], Tensor]) -> tuple[Numbers, Tensor]:
        """One step down the gradient. Returns what is logged of the losses before it, and the gradient's norm.

        step: what to do with a gradient that was set, given the total and the minibatch's size; gives the norm.
        """
        logged = self(minibatch)
        return logged, step(logged.vector[0], minibatch.size)

    def prepare(self, rollout: Rollout, count: int, step: GraphStep | None = None) -> None:
        """The stage's first update is about to begin: rollouts like this, in `count` minibatches each.

        step: what a graph may do in place of the step of `descend`; None: nothing.
        """

    def of_one_update(self) -> AbstractContextManager[object]:
        """Within this context minibatches of one rollout come, one after the other."""
        return nullcontext()
