"""GRU and LSTM over whole sequences, as autograd and the compiler know them; `recurrence` says what they compute."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from functools import cache, partial
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from .compiling import ON_A_CPU, is_compiling
from .products import is_large
from .recurrence import gru, gru_gradient, lstm, lstm_gradient, one_by_one


class Recurrence:
    """A function that goes through time: in a graph of torch's compiler it is one operation, which has a graph of its
    own for a step; else it goes one by one.

    * outputs: how many tensors it gives.
    """

    def __init__(self, function: Callable[..., tuple[Tensor, ...]], outputs: int) -> None:
        _, *self._inputs = inspect.signature(function).parameters
        schema = f"({', '.join(f'Tensor {name}' for name in self._inputs)}) -> ({', '.join(['Tensor'] * outputs)})"
        name = f"trainctl::{function.__name__}"
        self._one_by_one = partial(function, one_by_one)
        self._operation = torch.library.custom_op(name, self._compiled, mutates_args=(), schema=schema)
        self._operation.register_fake(self._one_by_one)
        self._function = function

    def __call__(self, *inputs: Tensor) -> tuple[Tensor, ...]:
        found: tuple[Tensor, ...]
        found = self._operation(*inputs) if is_compiling() else self._one_by_one(*inputs)
        return found

    def _compiled(self, *inputs: Tensor) -> tuple[Tensor, ...]:
        named = dict(zip(self._inputs, inputs, strict=True))
        # a step of large products takes the time of these, and they are no part of a graph
        is_large_step = is_large(named["masks"][0], named["weight"])
        return self._one_by_one(*inputs) if is_large_step else tuple(_in_a_graph(self._function)(*inputs))


@cache
def _in_a_graph(function: Callable[..., tuple[Tensor, ...]]) -> Callable[..., Sequence[Tensor]]:
    from torch._higher_order_ops.scan import scan  # with torch's compiler, which takes as long to import as torch

    def through(step: Any, carry: Any, inputs: Sequence[Tensor], reverse: bool = False) -> Any:
        def apart(carry: Any, now: Sequence[Tensor]) -> Any:
            carry, found = step(carry, *now)
            return carry, tuple(one.clone() for one in found)

        return scan(apart, carry, tuple(inputs), reverse=reverse)

    def whole(*inputs: Tensor) -> tuple[Tensor, ...]:
        return function(through, *(one.clone() for one in inputs))  # a scan wants each tensor in a place of its own

    return torch.compile(whole, fullgraph=True, dynamic=False, options=ON_A_CPU)


GRU, GRU_GRADIENT = Recurrence(gru, 5), Recurrence(gru_gradient, 4)
LSTM, LSTM_GRADIENT = Recurrence(lstm, 8), Recurrence(lstm_gradient, 4)


class GRUSequence(torch.autograd.Function):
    """`gru` of gates, memory, masks, weight and bias; outputs have a gradient, what it keeps has none."""

    @staticmethod
    def forward(*inputs: Tensor) -> tuple[Tensor, ...]:
        return GRU(*inputs)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor, ...], output: tuple[Tensor, ...]) -> None:
        _keep(ctx, output[1:], inputs)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor | None, *_: None) -> tuple[Tensor | None, ...]:
        before = ctx.saved_tensors[0]
        of_gates, of_memory, of_weight, of_bias = GRU_GRADIENT(_or_zeros(gradient, before), *ctx.saved_tensors)
        return of_gates, of_memory, None, of_weight, of_bias


class LSTMSequence(torch.autograd.Function):
    """`lstm` of gates, memory, masks, weight and bias; outputs and cells have gradients, what it keeps has none."""

    @staticmethod
    def forward(*inputs: Tensor) -> tuple[Tensor, ...]:
        return LSTM(*inputs)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor, ...], output: tuple[Tensor, ...]) -> None:
        _keep(ctx, output[2:], inputs)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor | None, of_cell: Tensor | None, *_: None) -> tuple[Tensor | None, ...]:
        outputs_before = ctx.saved_tensors[0]
        given = (_or_zeros(gradient, outputs_before), _or_zeros(of_cell, outputs_before[0]))
        of_gates, of_memory, of_weight, of_bias = LSTM_GRADIENT(*given, *ctx.saved_tensors)
        return of_gates, of_memory, None, of_weight, of_bias


def _keep(ctx: Any, kept: Sequence[Tensor], inputs: tuple[Tensor, ...]) -> None:
    _, _, masks, weight, _ = inputs
    ctx.mark_non_differentiable(*kept)
    ctx.set_materialize_grads(False)
    ctx.save_for_backward(*kept, masks, weight)


def _or_zeros(gradient: Tensor | None, like: Tensor) -> Tensor:
    """The gradient of an output; zeros where nothing depends on that."""
    return torch.zeros_like(like) if gradient is None else gradient
