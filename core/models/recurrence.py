"""GRU and LSTM over whole sequences, with their gradient worked out by hand: the mathematics.

Autograd would record some thirty small operations for each step and make one product for each step's share of the
weights' gradient. Here a step backward is nine operations, whose factors are computed for all steps at once, and each
weight's gradient is one product in the end.

T steps of B sequences, H the size of the output. The memory before a step is multiplied by that step's mask (T, B, 1).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeAlias

import torch
from torch import Tensor

Through: TypeAlias = Callable[..., tuple[Any, Sequence[Tensor]]]
"""Goes through time as `one_by_one` does."""


def one_by_one(
    step: Callable[..., tuple[Any, Sequence[Tensor]]], carry: Any, inputs: Sequence[Tensor], reverse: bool = False
) -> tuple[Any, list[Tensor]]:
    """What is carried on after all steps, and what each step has found: (T, …).

    * step: from what is carried on and this step's part of the inputs (T, …) to what is carried on, and what is found.
    * reverse: begin with the last step.
    """
    order = slice(None, None, -1) if reverse else slice(None)
    found = []
    for now in zip(*(one.unbind()[order] for one in inputs), strict=True):
        carry, own = step(carry, *now)
        found.append(own)
    return carry, [torch.stack(one) for one in zip(*found[order], strict=True)]


def gru(
    through: Through, gates: Tensor, memory: Tensor, masks: Tensor, weight: Tensor, bias: Tensor
) -> tuple[Tensor, ...]:
    """A gated recurrent unit (Cho et al. 2014, as torch.nn.GRU writes it): outputs (T, B, H), and what its gradient
    needs of each step.

    * gates: (T, B, 3H), what the inputs say to the reset, update and new gate, the input's bias included.
    * memory: (B, H) before the first step. weight (3H, H), bias (3H): of the memory's part.
    """
    size, transposed = memory.shape[-1], weight.t()

    def step(memory: Tensor, switch_input: Tensor, new_input: Tensor, mask: Tensor) -> Any:
        before = memory * mask
        switch_hidden, hidden_new = torch.addmm(bias, before, transposed).split([2 * size, size], dim=-1)
        switch = torch.sigmoid(switch_input + switch_hidden)
        reset, update = switch.chunk(2, dim=-1)
        new = torch.tanh(torch.addcmul(new_input, reset, hidden_new))
        after = torch.lerp(new, before, update)
        return after, (after, before, switch, hidden_new, new)

    # copied once: a step's part of a view takes a scan twice the time
    given = [part.contiguous() for part in gates.split([2 * size, size], dim=-1)]
    _, found = through(step, memory, (*given, masks))
    return tuple(found)


def gru_gradient(
    through: Through,
    gradient: Tensor,
    before: Tensor,
    switches: Tensor,
    hidden_new: Tensor,
    new: Tensor,
    masks: Tensor,
    weight: Tensor,
) -> tuple[Tensor, ...]:
    """From the outputs' gradient (T, B, H) to that of gates, memory, weight and bias."""
    reset, update = switches.chunk(2, dim=-1)
    to_new = (1 - update) * (1 - new.square())
    to_update = (before - new) * update * (1 - update)
    to_reset = hidden_new * reset * (1 - reset)

    def step(of_memory: Tensor, own: Tensor, *factors: Tensor) -> Any:
        new_factor, update_factor, reset_factor, is_reset, is_update, mask = factors
        total = own + of_memory
        of_new = total * new_factor
        switched = [of_new * reset_factor, total * update_factor]
        hidden = torch.cat([*switched, of_new * is_reset], dim=-1)
        of_memory = torch.addmm(total * is_update, hidden, weight) * mask
        return of_memory, (torch.cat([*switched, of_new], dim=-1), hidden)

    factors = (to_new, to_update, to_reset, reset, update, masks)
    of_memory, (of_gates, hidden) = through(step, torch.zeros_like(gradient[0]), (gradient, *factors), reverse=True)
    flat = hidden.flatten(0, 1)
    return of_gates, of_memory, flat.t() @ before.flatten(0, 1), flat.sum(dim=0)


def lstm(
    through: Through, gates: Tensor, memory: Tensor, masks: Tensor, weight: Tensor, bias: Tensor
) -> tuple[Tensor, ...]:
    """Long short-term memory (Hochreiter and Schmidhuber 1997, as torch.nn.LSTM writes it): outputs (T, B, H), last
    cells (B, H), and what its gradient needs of each step.

    * gates: (T, B, 4H), what the inputs say to the input, forget, cell and output gate, the input's bias included.
    * memory: (B, 2H), output beside cell, before the first step. weight (4H, H), bias (4H): of the memory's part.
    """
    transposed = weight.t()

    def step(memory: tuple[Tensor, Tensor], given: Tensor, mask: Tensor) -> Any:
        output_before, cell_before = memory[0] * mask, memory[1] * mask
        let_in, keep, candidate, let_out = (given + torch.addmm(bias, output_before, transposed)).chunk(4, dim=-1)
        let_in, keep, let_out = torch.sigmoid(let_in), torch.sigmoid(keep), torch.sigmoid(let_out)
        candidate = torch.tanh(candidate)
        cell = torch.addcmul(keep * cell_before, let_in, candidate)
        squashed = torch.tanh(cell)
        output = let_out * squashed
        gate = torch.stack([let_in, keep, candidate, let_out])
        return (output, cell), (output, output_before, cell_before, gate, squashed)

    start = tuple(one.clone(memory_format=torch.contiguous_format) for one in memory.chunk(2, dim=-1))
    (_, cell), (outputs, *kept) = through(step, start, (gates, masks))
    return outputs, cell, *kept


def lstm_gradient(
    through: Through,
    gradient: Tensor,
    of_cell: Tensor,
    outputs_before: Tensor,
    cells_before: Tensor,
    activations: Tensor,
    squashed: Tensor,
    masks: Tensor,
    weight: Tensor,
) -> tuple[Tensor, ...]:
    """From the outputs' and the last cells' gradient to that of gates, memory, weight and bias."""
    let_in, keep, candidate, let_out = activations.unbind(dim=1)
    from_cell = torch.stack(
        [
            candidate * let_in * (1 - let_in),
            cells_before * keep * (1 - keep),
            let_in * (1 - candidate.square()),
        ],
        dim=1,
    )
    to_cell = let_out * (1 - squashed.square())
    to_let_out = squashed * let_out * (1 - let_out)

    def step(memory: tuple[Tensor, Tensor], own: Tensor, *factors: Tensor) -> Any:
        of_output, of_cell = memory
        cell_factors, cell_factor, out_factor, is_kept, mask = factors
        total = own + of_output
        of_cell = torch.addcmul(of_cell, total, cell_factor)
        of_gate = torch.cat([*(of_cell * cell_factors).unbind(), total * out_factor], dim=-1)
        return ((of_gate @ weight) * mask, of_cell * is_kept * mask), (of_gate,)

    factors = (from_cell, to_cell, to_let_out, keep, masks)
    start = (torch.zeros_like(of_cell), of_cell)
    of_memory, (of_gates,) = through(step, start, (gradient, *factors), reverse=True)
    flat = of_gates.flatten(0, 1)
    return of_gates, torch.cat(of_memory, dim=-1), flat.t() @ outputs_before.flatten(0, 1), flat.sum(dim=0)
