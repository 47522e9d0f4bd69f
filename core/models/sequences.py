"""GRU and LSTM over whole sequences, as autograd, recordings and the compiler know them.

`recurrence` says what they compute; on a CPU, where steps are small, `recurrence_loops` computes it.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from typing import Any, TypeAlias

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from . import recurrence
from .compiling import is_compiling
from .products import product

Function: TypeAlias = Callable[..., tuple[Tensor, ...]]

SMALL = 2**23
"""Multiplications in a step up to which loops take less time than torch's operations with two threads."""


class Recurrence:
    """A function of `recurrence`. Where `recurrence_loops` computes it, and for the compiler, which would have a graph
    for each step, it is one operation.

    * outputs: how many tensors it gives.
    """

    def __init__(self, function: Function, outputs: int) -> None:
        self._function = function
        self._inputs = list(inspect.signature(function).parameters)
        schema = f"({', '.join(f'Tensor {name}' for name in self._inputs)}) -> ({', '.join(['Tensor'] * outputs)})"
        name = f"trainctl::{function.__name__}"
        torch.library.define(name, schema)
        torch.library.impl(name, "CompositeExplicitAutograd", self._at_once)
        torch.library.register_fake(name, function)
        self._operation: Function = getattr(torch.ops.trainctl, function.__name__)

    def __call__(self, *inputs: Tensor) -> tuple[Tensor, ...]:
        return self._operation(*inputs) if is_compiling() or self._is_small(inputs) else self._function(*inputs)

    def _at_once(self, *inputs: Tensor) -> tuple[Tensor, ...]:
        if not self._is_small(inputs):
            return self._function(*inputs)
        from . import recurrence_loops  # Numba is for those with memory

        loops = getattr(recurrence_loops, self._function.__name__)
        found = loops(*(one.detach().contiguous().numpy() for one in inputs))
        return tuple(torch.from_numpy(one) for one in found)

    def _is_small(self, inputs: Sequence[Tensor]) -> bool:
        """Whether this is for `recurrence_loops`: on a CPU, of float32, and no step has much to multiply."""
        named = dict(zip(self._inputs, inputs, strict=True))
        sequences, weight = named["masks"].shape[1], named["weight"]
        is_known = weight.device.type == "cpu" and weight.dtype == torch.float32
        return is_known and sequences * weight.numel() <= SMALL


GRU, GRU_GRADIENT = Recurrence(recurrence.gru, 5), Recurrence(recurrence.gru_gradient, 3)
LSTM, LSTM_GRADIENT = Recurrence(recurrence.lstm, 8), Recurrence(recurrence.lstm_gradient, 2)


class GRUSequence(torch.autograd.Function):
    """`gru` of gates, memory, masks, weight and bias; outputs have a gradient, what it keeps has none."""

    @staticmethod
    def forward(*inputs: Tensor) -> tuple[Tensor, ...]:
        return GRU(*_transposed(inputs))

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor, ...], output: tuple[Tensor, ...]) -> None:
        _keep(ctx, output[1:], inputs)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor | None, *_: None) -> tuple[Tensor | None, ...]:
        before = ctx.saved_tensors[0]
        of_gates, of_hidden, of_memory = GRU_GRADIENT(_or_zeros(gradient, before), *ctx.saved_tensors)
        return of_gates, of_memory, None, *_of_weight_and_bias(of_hidden, before)


class LSTMSequence(torch.autograd.Function):
    """`lstm` of gates, memory, masks, weight and bias; outputs and cells have gradients, what it keeps has none."""

    @staticmethod
    def forward(*inputs: Tensor) -> tuple[Tensor, ...]:
        return LSTM(*_transposed(inputs))

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor, ...], output: tuple[Tensor, ...]) -> None:
        _keep(ctx, output[2:], inputs)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor | None, of_cell: Tensor | None, *_: None) -> tuple[Tensor | None, ...]:
        before, *kept = ctx.saved_tensors
        of_gates, of_memory = LSTM_GRADIENT(_or_zeros(gradient, before), _or_zeros(of_cell, before[0]), *kept)
        return of_gates, of_memory, None, *_of_weight_and_bias(of_gates, before)


def _transposed(inputs: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    """With the weight (n, H) as (H, n), copied once for all steps: so each product takes less."""
    gates, memory, masks, weight, bias = inputs
    return gates, memory, masks, weight.t().contiguous(), bias


def _keep(ctx: Any, kept: Sequence[Tensor], inputs: tuple[Tensor, ...]) -> None:
    _, _, masks, weight, _ = inputs
    ctx.mark_non_differentiable(*kept)
    ctx.set_materialize_grads(False)
    ctx.save_for_backward(*kept, masks, weight)


def _or_zeros(gradient: Tensor | None, like: Tensor) -> Tensor:
    """The gradient of an output; zeros where nothing depends on that."""
    return torch.zeros_like(like) if gradient is None else gradient


def _of_weight_and_bias(of_hidden: Tensor, before: Tensor) -> tuple[Tensor, Tensor]:
    """The gradient of both, of all steps at once, from that of what the memory says (T, B, n) and the memory (T, B, H)
    before each step."""
    flat = of_hidden.flatten(0, 1)
    return product(flat.t(), before.flatten(0, 1)), flat.sum(dim=0)
