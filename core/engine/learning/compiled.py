"""CompiledGradients: the gradient of weighted losses in one graph, by torch's compiler."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from functools import partial
from itertools import compress

import torch
from torch import Tensor, nn
from torch.func import functional_call, grad_and_value

from ...models.memory import RecurrentMemory
from ...tree import Tree, filled, leaves, map_tree
from ..collecting.rollout import Rollout
from ..seeding import untouched_global_random_state
from .compiler import UPDATE, Compiler, in_one_graph
from .cuda_graphs import compiled_for, graphs_left_out, stay_where_they_are
from .graph_step import GraphStep
from .minibatch import Minibatch, taken
from .recorded import RecordedGradients
from .scheduled import ScheduledBatch, Schedules, TimelessBatch
from .small_images import SmallImages
from .tape import NotRepeatable, Repeat
from .weighing import Numbers, Weighed, WeightedLoss, weigh
from .weights import Weights


class CompiledGradients(RecordedGradients):
    """The same in one compiled graph of forward, losses and gradient; equal up to the rounding of floats. Where a graph
    can make the optimizer's step as well it does. On a GPU it becomes a CUDA graph.

    Everything is compiled before the stage's first update, so that what a resumed run computes does not depend on
    where it went on. A minibatch of another size than those at hand then is computed step by step. Where the compiler
    is missing, or the model or a loss does not trace, the gradient is recorded if it can be.
    """

    def __init__(
        self,
        model: nn.Module,
        weights: Weights,
        losses: Sequence[WeightedLoss],
        compiler: Compiler,
    ) -> None:
        super().__init__(model, weights, losses)
        self.compiler = compiler
        self._step: GraphStep | None = None
        self._compiled: dict[int, Repeat] = {}  # by the number of units in a minibatch
        self._buffers: dict[str, Tensor] = {}  # the model's, where a graph is not told of them otherwise

    def prepare(self, rollout: Rollout, count: int, step: GraphStep | None = None) -> None:
        super().prepare(rollout, count)
        if rollout.first_memory is not None and not self._has_known_memory(rollout.device):
            self.compiler.warn(
                "not compiled: the update of a model with memory; on a CPU those of trainctl's GRU and LSTM are"
            )
            return
        examples = rollout.examples(count)
        with untouched_global_random_state():
            self._schedules = Schedules(rollout.device)
            weighed = self._step_by_step(examples[0])  # in the user's own words, should model or losses be wrong
            if weighed is None:
                self.compiler.warn(
                    "not compiled: a loss asks for batch.stage_steps; batch.scheduled(function) can be compiled"
                )
                return
            self._tags = list(weighed.logged)
            self._used = [parameter.grad is not None for parameter in self.weights.parameters]
            self._step = step if all(self._used) else None
            names: dict[Tensor, str] = {parameter: name for name, parameter in self.model.named_parameters()}
            self._names = [names[parameter] for parameter in self.weights.parameters]
            self._buffers = dict(self.model.named_buffers()) if self._recordings else {}
            self._compiled = self.compiler.try_to(lambda: self._compile(examples), UPDATE) or {}

    def _has_known_memory(self, device: torch.device) -> bool:
        """Whether going through time is one operation; else the graph would have a part for each step."""
        return device.type == "cpu" and any(isinstance(own, RecurrentMemory) for own in self.model.modules())

    def _step_by_step(self, example: Minibatch) -> Weighed | None:
        """None: a loss asked for the steps of the stage, which a graph would repeat for ever."""
        batch = TimelessBatch(value_of=self._schedules.value_of, **taken(**example.tree()))
        try:
            weighed = weigh(self.model, self.losses, batch)
        except NotRepeatable:
            return None
        self.weights.backward(weighed.total)
        return weighed

    def _compile(self, examples: Sequence[Minibatch]) -> dict[int, Repeat]:
        torch.compiler.reset()  # the graphs of other stages
        compiled = {len(example.index): self._graph_of(example) for example in examples}
        if graphs_left_out():
            self.compiler.warn("compiled without CUDA graphs, so slower; TORCH_LOGS=cudagraphs says why")
        return compiled

    def _graph_of(self, example: Minibatch) -> Repeat:
        state = [one.clone() for one in (*self._state(), *self._buffers.values())]
        inputs = [*state, *leaves(example.tree()), *self._schedules.tensors]
        function = partial(self._computed, map_tree(lambda leaf: None, example.tree()))
        if self._recordings:
            compiled = in_one_graph(function, inputs)
        else:
            observed = [*leaves(example.content["observations"]), example.content["masks"]]
            stay_where_they_are([*self._state(), *state, *observed, *self._schedules.tensors])
            compiled = compiled_for(self.weights.vectors[0].device, function)
        with torch.no_grad():
            compiled(*inputs)
        return compiled

    def _state(self) -> list[Tensor]:
        """What the graph reads, and changes if it makes the step: the weights first."""
        return self.weights.vectors if self._step is None else self._step.state

    def _run(self, compiled: Repeat, minibatch: Minibatch) -> list[Tensor]:
        scheduled = self._schedules.at(minibatch.stage_steps)
        with torch.no_grad():
            return compiled(*self._state(), *self._buffers.values(), *leaves(minibatch.tree()), *scheduled)

    def _graph_for(self, minibatch: Minibatch) -> Repeat | None:
        """None: it has another size, or steps that are no data."""
        return None if "valid" in minibatch.content else self._compiled.get(len(minibatch.index))

    def __call__(self, minibatch: Minibatch) -> Numbers:
        compiled = self._graph_for(minibatch)
        if compiled is None or self._step is not None:
            return super().__call__(minibatch)
        *gradients, vector = self._run(compiled, minibatch)
        self.weights.take(gradients, self._used)
        return Numbers(self._tags, vector)

    def descend(self, minibatch: Minibatch, step: Callable[[Tensor, int], Tensor]) -> tuple[Numbers, Tensor]:
        compiled = self._graph_for(minibatch)
        if compiled is None or self._step is None or not self._step.is_ready():
            return super().descend(minibatch, step)
        vector, norm = self._run(compiled, minibatch)
        if self._step.is_bad(vector[0] + norm):
            return super().descend(minibatch, step)  # nothing has changed, and this says what is wrong
        self._step.was_made()
        return Numbers(self._tags, vector), norm

    def of_one_update(self) -> AbstractContextManager[object]:
        # what the compiler guards against beside other sizes, which we look at ourselves, does not change in a stage
        stance: AbstractContextManager[object] = torch.compiler.set_stance(
            "eager_on_recompile", skip_guard_eval_unsafe=True
        )
        return stance

    def _computed(self, shape: Tree, *inputs: Tensor) -> list[Tensor]:
        """The gradient of a minibatch, as vectors, and the numbers of what the losses say; or these and the norm.

        inputs: the state, the model's buffers, the tensors of a minibatch's tree of this shape, and what is scheduled.
        """
        rest = iter(inputs)
        state, buffers = [next(rest) for _ in self._state()], {name: next(rest) for name in self._buffers}
        content, scheduled = filled(shape, rest), [*rest]
        parameters = self.weights.cut(state[: len(self.weights.vectors)])
        batch = ScheduledBatch(value_of=lambda function: scheduled[self._schedules.index(function)], **taken(**content))

        def total_of(used: list[Tensor]) -> tuple[Tensor, Tensor]:
            taken = iter(used)
            own = [next(taken) if is_used else p for p, is_used in zip(parameters, self._used, strict=True)]
            named = {**dict(zip(self._names, own, strict=True)), **buffers}
            weighed = weigh(lambda *seen: functional_call(self.model, named, seen), self.losses, batch)
            return weighed.total, weighed.numbers().vector

        with SmallImages():
            gradients, (_, logged) = grad_and_value(total_of, has_aux=True)(list(compress(parameters, self._used)))
        found = iter(gradients)
        joined = self.weights.joined([next(found) if is_used else None for is_used in self._used])
        return [*joined, logged] if self._step is None else [logged, self._step(state, joined[0], logged[0])]
