"""CompiledGradients: the gradient of weighted losses in one graph, by torch's compiler."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import replace
from itertools import compress
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call, grad_and_value

from ..batch import Batch
from .recorded import RecordedGradients
from .rollout import Rollout
from .seeding import untouched_global_random_state
from .weighing import Gradients, Weighed, WeightedLoss, weigh
from .weights import Weights


class CompiledGradients(RecordedGradients):
    """The same in one compiled graph of forward, losses and gradient; equal up to the rounding of floats.

    Everything is compiled before the stage's first update, so that what a resumed run computes does not depend on
    where it went on. A minibatch of another size than those at hand then is computed step by step. Where the compiler
    is missing, or the model or a loss does not trace, the gradient is recorded if it can be.

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
        self._compiled: dict[torch.Size, Callable[..., tuple[list[Tensor], Weighed]]] = {}

    def prepare(self, rollout: Rollout, count: int) -> None:
        examples = rollout.examples(count)
        if any(batch.memory is not None for batch in examples):
            self.say("not compiled: the update of a model with memory, whose graph has a part for each step")
            super().prepare(rollout, count)
            return
        with untouched_global_random_state():
            Gradients.__call__(self, examples[0])  # in the user's own words, should model or losses be wrong
            self._is_used = [parameter.grad is not None for parameter in self.weights.parameters]
            self._used: list[Tensor] = list(compress(self.weights.parameters, self._is_used))
            names: dict[Tensor, str] = {parameter: name for name, parameter in self.model.named_parameters()}
            self._names = [names[parameter] for parameter in self._used]
            self.say("compiling the update, which takes from a few seconds to a minute")
            try:
                compiled = self._compile(examples)
                self._compiled = {batch.actions.shape: compiled for batch in examples}
            except Exception as error:  # the compiler's errors have no class in common
                reason, *_ = [*str(error).strip().splitlines(), ""]
                self.say(f"not compiled, so slower: {type(error).__name__}: {reason}")
                super().prepare(rollout, count)

    def _compile(self, examples: Sequence[Batch]) -> Callable[..., tuple[list[Tensor], Weighed]]:
        torch.compiler.reset()  # the graphs of other stages
        options: dict[str, Any] = {"fallback_random": True, "cpp_wrapper": True}
        compiled = torch.compile(self._gradients, fullgraph=True, dynamic=False, options=options)
        with torch.no_grad():
            for batch in examples:
                compiled(self._used, batch)
            later = replace(examples[0], stage_steps=examples[0].stage_steps + 1000)
            with torch.compiler.set_stance("fail_on_recompile"):  # as a loss that depends on the steps would
                compiled(self._used, later)
        return compiled

    def __call__(self, batch: Batch) -> Weighed:
        compiled = self._compiled.get(batch.actions.shape)
        if compiled is None:
            return super().__call__(batch)
        with torch.no_grad():
            gradients, weighed = compiled(self._used, batch)
        found = iter(gradients)
        self.weights.set_gradient([next(found) if is_used else None for is_used in self._is_used])
        return weighed

    def of_one_update(self) -> AbstractContextManager[object]:
        # what the compiler guards against beside other sizes, which we look at ourselves, does not change in a stage
        stance: AbstractContextManager[object] = torch.compiler.set_stance(
            "eager_on_recompile", skip_guard_eval_unsafe=True
        )
        return stance

    def _gradients(self, used: list[Tensor], batch: Batch) -> tuple[list[Tensor], Weighed]:
        def total_of(tensors: list[Tensor]) -> tuple[Tensor, Weighed]:
            named = dict(zip(self._names, tensors, strict=True))
            weighed = weigh(lambda *seen: functional_call(self.model, named, seen), self.losses, batch)
            return weighed.total, weighed

        gradients, (_, weighed) = grad_and_value(total_of, has_aux=True)(used)
        return gradients, weighed
