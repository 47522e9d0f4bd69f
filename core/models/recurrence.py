"""GRU and LSTM over whole sequences, with their gradient worked out by hand: the mathematics.

Autograd would record some thirty small operations for each step and make one product for each step's share of the
weights' gradient. Here a step does what the next one needs and nothing else: three operations backward through a GRU,
six through an LSTM. The rest is computed for all steps at once. `recurrence_loops` has the same for small sizes.

T steps of B sequences, H the size of the output. The memory before a step is multiplied by that step's mask (T, B, 1).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from .products import product


def gru(gates: Tensor, memory: Tensor, masks: Tensor, weight: Tensor, bias: Tensor) -> tuple[Tensor, ...]:
    """A gated recurrent unit (Cho et al. 2014, as torch.nn.GRU writes it): outputs (T, B, H), and what its gradient
    needs of each step.

    * gates: (T, B, 3H), what the inputs say to the reset, update and new gate, the input's bias included.
    * memory: (B, H) before the first step. weight (H, 3H), bias (3H): of the memory's part.
    """
    size = memory.shape[-1]
    to_switches, to_new = gates.split([2 * size, size], dim=-1)
    # to the new gate the input speaks only after the reset
    given = torch.cat([to_switches + bias[: 2 * size], bias[2 * size :].expand_as(to_new)], dim=-1)

    def step(memory: Tensor, given: Tensor, to_new: Tensor, mask: Tensor) -> Any:
        before = memory * mask
        gate = product(before, weight, given)
        switch, hidden_new = torch.sigmoid(gate[:, : 2 * size]), gate[:, 2 * size :]
        reset, update = switch[:, :size], switch[:, size:]
        new = torch.tanh(torch.addcmul(to_new, reset, hidden_new))
        after = torch.lerp(new, before, update)
        return after, (after, switch, hidden_new, new)

    _, (outputs, *kept) = _through_time(step, memory, (given, to_new, masks))
    return outputs, _before(memory, outputs) * masks, *kept


def gru_gradient(
    gradient: Tensor,
    before: Tensor,
    switches: Tensor,
    hidden_new: Tensor,
    new: Tensor,
    masks: Tensor,
    weight: Tensor,
) -> tuple[Tensor, ...]:
    """From the outputs' gradient (T, B, H) to that of the gates and of the memory's part in them, (T, B, 3H) both, and
    of the memory (B, H)."""
    reset, update = switches.chunk(2, dim=-1)
    to_new = (1 - update) * (1 - new.square())
    to_update = (before - new) * update * (1 - update)
    to_reset = to_new * hidden_new * reset * (1 - reset)
    to_hidden = torch.stack([to_reset, to_update, to_new * reset], dim=-2)

    # total: the gradient of this step's output; earlier: what the losses alone say of that of the step before
    def step(total: Tensor, earlier: Tensor, kept: Tensor, to_hidden: Tensor) -> Any:
        return product(_times_each(total, to_hidden), weight, torch.addcmul(earlier, total, kept)), (total,)

    inputs = (_before(torch.zeros_like(gradient[0]), gradient), update * masks, to_hidden * masks.unsqueeze(-1))
    of_memory, (totals,) = _through_time(step, gradient[-1], inputs, reverse=True)
    of_hidden = _times_each(totals, to_hidden)
    of_gates = torch.cat([of_hidden[..., : -new.shape[-1]], totals * to_new], dim=-1)
    return of_gates, of_hidden, of_memory


def lstm(gates: Tensor, memory: Tensor, masks: Tensor, weight: Tensor, bias: Tensor) -> tuple[Tensor, ...]:
    """Long short-term memory (Hochreiter and Schmidhuber 1997, as torch.nn.LSTM writes it): outputs (T, B, H), last
    cells (B, H), and what its gradient needs of each step.

    * gates: (T, B, 4H), what the inputs say to the input, forget, cell and output gate, the input's bias included.
    * memory: (B, 2H), output beside cell, before the first step. weight (H, 4H), bias (4H): of the memory's part.
    """
    size = len(weight)

    def step(memory: tuple[Tensor, Tensor], given: Tensor, mask: Tensor) -> Any:
        output_before, cell_before = memory[0] * mask, memory[1] * mask
        gate = product(output_before, weight, given)
        switch, let_out = torch.sigmoid(gate[:, : 2 * size]), torch.sigmoid(gate[:, 3 * size :])
        let_in, keep = switch[:, :size], switch[:, size:]
        candidate = torch.tanh(gate[:, 2 * size : 3 * size])
        cell = torch.addcmul(keep * cell_before, let_in, candidate)
        squashed = torch.tanh(cell)
        output = let_out * squashed
        return (output, cell), (output, cell, switch, candidate, let_out, squashed)

    first = [one.clone(memory_format=torch.contiguous_format) for one in memory.chunk(2, dim=-1)]
    (_, last), (outputs, cells, *kept) = _through_time(step, tuple(first), (gates + bias, masks))
    before = [_before(one, later) * masks for one, later in zip(first, (outputs, cells), strict=True)]
    return outputs, last, *before, *kept


def lstm_gradient(
    gradient: Tensor,
    of_cell: Tensor,
    cells_before: Tensor,
    switches: Tensor,
    candidate: Tensor,
    let_out: Tensor,
    squashed: Tensor,
    masks: Tensor,
    weight: Tensor,
) -> tuple[Tensor, ...]:
    """From the outputs' and the last cells' gradient to that of the gates (T, B, 4H) and the memory (B, 2H)."""
    let_in, keep = switches.chunk(2, dim=-1)
    from_cell = torch.stack(
        [
            candidate * let_in * (1 - let_in),
            cells_before * keep * (1 - keep),
            let_in * (1 - candidate.square()),
        ],
        dim=-2,
    )
    to_cell = let_out * (1 - squashed.square())
    to_let_out = squashed * let_out * (1 - let_out)

    def step(memory: tuple[Tensor, Tensor], earlier: Tensor, *factors: Tensor) -> Any:
        total, of_cell = memory
        to_cell, from_cell, to_let_out, kept = factors
        of_cell = torch.addcmul(of_cell, total, to_cell)
        of_gates = torch.cat([_times_each(of_cell, from_cell), total * to_let_out], dim=-1)
        return (product(of_gates, weight, earlier), of_cell * kept), (total, of_cell)

    earlier = _before(torch.zeros_like(of_cell), gradient)
    inputs = (earlier, to_cell, from_cell * masks.unsqueeze(-1), to_let_out * masks, keep * masks)
    of_memory, (totals, of_cells) = _through_time(step, (gradient[-1], of_cell), inputs, reverse=True)
    of_gates = torch.cat([_times_each(of_cells, from_cell), totals * to_let_out], dim=-1)
    return of_gates, torch.cat(of_memory, dim=-1)


def _through_time(
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


def _before(first: Tensor, outcomes: Tensor) -> Tensor:
    """What stood before each step (T, B, …), given what stood before the first and the outcome of each."""
    return torch.cat([first.unsqueeze(0), outcomes[:-1]])


def _times_each(gradient: Tensor, factors: Tensor) -> Tensor:
    """The gradient (…, H) times each of the factors (…, n, H), side by side: (…, nH)."""
    return (gradient.unsqueeze(-2) * factors).flatten(-2)
