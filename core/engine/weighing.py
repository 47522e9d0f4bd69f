"""From a minibatch to the gradient of its weighted losses: step by step, or compiled."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from itertools import compress
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.func import functional_call, grad_and_value

from ..batch import Batch
from ..errors import ExperimentError
from ..losses.loss import LossOutput
from .rollout import Rollout
from .seeding import untouched_global_random_state
from .weights import Weights


class WeightedLoss(NamedTuple):
    """A loss of the current stage: its name in the pipeline, its weight, the loss itself."""

    name: str
    weight: float
    loss: Callable[..., Any]


class Weighed(NamedTuple):
    """What the losses say about a minibatch: their weighted sum, the value of each, and what is logged of them."""

    total: Tensor
    values: dict[str, Tensor]
    tags: dict[str, Tensor]


def weigh(model: Callable[..., Any], losses: Sequence[WeightedLoss], batch: Batch) -> Weighed:
    """Forward, and the losses. Raises ExperimentError for one that is not a number with a graph."""
    output = model(batch.observations, batch.memory, batch.masks)
    results = [(item, _checked(item.name, item.loss(batch, output))) for item in losses]
    weighted = [result.value if item.weight == 1 else item.weight * result.value for item, result in results]
    total = weighted[0] if len(weighted) == 1 else torch.stack(weighted).sum()
    tags = {"loss/total": total}
    for item, result in results:
        tags |= {f"loss/{item.name}/{part}": value for part, value in result.info.items()}
        tags |= {f"train/{part}": value for part, value in result.diagnostics.items()}
    return Weighed(total, {item.name: result.value for item, result in results}, tags)


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

    def __call__(self, batch: Batch) -> Weighed:
        """What the losses say about this minibatch."""
        weighed = weigh(self.model, self.losses, batch)
        self.weights.backward(weighed.total)
        return weighed

    def prepare(self, rollout: Rollout, count: int) -> None:
        """The stage's first update is about to begin: rollouts like this, in `count` minibatches each."""


class CompiledGradients(Gradients):
    """The same in one compiled graph of forward, losses and gradient; equal up to the rounding of floats.

    Everything is compiled before the stage's first update, so that what a resumed run computes does not depend on
    where it went on. A minibatch of another size than those at hand then is computed step by step, and so is
    everything where the compiler is missing or the model or a loss does not trace.

    * say: told that it compiles, and why it does not.
    """

    def __init__(
        self,
        model: nn.Module,
        weights: Weights,
        losses: Sequence[WeightedLoss],
        say: Callable[[str], None],
    ) -> None:
        super().__init__(model, weights, losses)
        self.say = say
        self._compiled: Callable[..., tuple[list[Tensor], Weighed]] | None = None

    def prepare(self, rollout: Rollout, count: int) -> None:
        examples = rollout.examples(count)
        if any(batch.memory is not None for batch in examples):
            self.say("not compiled: the update of a model with memory, whose graph has a part for each step")
            return
        with untouched_global_random_state():
            super().__call__(examples[0])  # in the user's own words, should anything be wrong with model or losses
            self._is_used = [parameter.grad is not None for parameter in self.weights.parameters]
            self._used: list[Tensor] = list(compress(self.weights.parameters, self._is_used))
            names: dict[Tensor, str] = {parameter: name for name, parameter in self.model.named_parameters()}
            self._names = [names[parameter] for parameter in self._used]
            self.say("compiling the update, which takes from a few seconds to a minute")
            try:
                self._compiled = self._compile(examples)
            except Exception as error:  # the compiler's errors have no class in common
                reason, *_ = [*str(error).strip().splitlines(), ""]
                self.say(f"not compiled, so slower: {type(error).__name__}: {reason}")

    def _compile(self, examples: Sequence[Batch]) -> Callable[..., tuple[list[Tensor], Weighed]]:
        torch.compiler.reset()  # the graphs of other stages
        compiled = torch.compile(self._gradients, fullgraph=True, dynamic=False, options={"fallback_random": True})
        with torch.no_grad():
            for batch in examples:
                compiled(self._used, batch)
            later = replace(examples[0], stage_steps=examples[0].stage_steps + 1000)
            with torch.compiler.set_stance("fail_on_recompile"):  # as a loss that depends on the steps would
                compiled(self._used, later)
        return compiled

    def __call__(self, batch: Batch) -> Weighed:
        if self._compiled is None:
            return super().__call__(batch)
        with torch.no_grad(), torch.compiler.set_stance("eager_on_recompile"):
            gradients, weighed = self._compiled(self._used, batch)
        found = iter(gradients)
        self.weights.set_gradient([next(found) if is_used else None for is_used in self._is_used])
        return weighed

    def _gradients(self, used: list[Tensor], batch: Batch) -> tuple[list[Tensor], Weighed]:
        def total_of(tensors: list[Tensor]) -> tuple[Tensor, Weighed]:
            named = dict(zip(self._names, tensors, strict=True))
            weighed = weigh(lambda *seen: functional_call(self.model, named, seen), self.losses, batch)
            return weighed.total, weighed

        gradients, (_, weighed) = grad_and_value(total_of, has_aux=True)(used)
        return gradients, weighed
