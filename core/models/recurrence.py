"""GRU and LSTM over whole sequences, with their gradient worked out by hand.

Autograd would record some thirty small operations for each step and make one product for each step's share of the
weights' gradient. Here a step backward is nine operations, whose factors are computed for all steps at once, and each
weight's gradient is one product in the end.

T steps of B sequences, H the size of the output. The memory before a step is multiplied by that step's mask (T, B, 1).
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable


class GRUSequence(torch.autograd.Function):
    """Outputs (T, B, H) of a gated recurrent unit (Cho et al. 2014, as torch.nn.GRU writes it).

    * gates: (T, B, 3H), what the inputs say to the reset, update and new gate, the input's bias included.
    * memory: (B, H) before the first step. weight (3H, H), bias (3H): of the memory's part.
    """

    @staticmethod
    def forward(ctx: Any, gates: Tensor, memory: Tensor, masks: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        size, transposed = memory.shape[-1], weight.t()
        both, fresh = gates.split([2 * size, size], dim=-1)
        stores: tuple[list[Tensor], ...] = ([], [], [], [], [])
        for switch_input, new_input, mask in zip(both.unbind(), fresh.unbind(), masks.unbind(), strict=True):
            memory = memory * mask
            switch_hidden, own = torch.addmm(bias, memory, transposed).split([2 * size, size], dim=-1)
            switch = torch.sigmoid(switch_input + switch_hidden)
            reset, update = switch.chunk(2, dim=-1)
            candidate = torch.tanh(torch.addcmul(new_input, reset, own))
            before, memory = memory, torch.lerp(candidate, memory, update)
            for store, value in zip(stores, (before, switch, own, candidate, memory), strict=True):
                store.append(value)
        *kept, outputs = map(torch.stack, stores)
        ctx.save_for_backward(*kept, masks, weight)
        return outputs

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, Tensor, None, Tensor, Tensor]:
        before, switches, hidden_new, new, masks, weight = ctx.saved_tensors
        reset, update = switches.chunk(2, dim=-1)
        to_new = (1 - update) * (1 - new.square())
        to_update = (before - new) * update * (1 - update)
        to_reset = hidden_new * reset * (1 - reset)
        steps = (gradient, to_new, to_update, to_reset, reset, update, masks)
        of_memory, from_input, from_hidden = torch.zeros_like(gradient[0]), list[Tensor](), list[Tensor]()
        for own, new_factor, update_factor, reset_factor, is_reset, is_update, mask in zip(
            *(step.unbind()[::-1] for step in steps), strict=True
        ):
            total = own + of_memory
            of_new = total * new_factor
            switched = [of_new * reset_factor, total * update_factor]
            hidden = torch.cat([*switched, of_new * is_reset], dim=-1)
            of_memory = torch.addmm(total * is_update, hidden, weight) * mask
            from_input.append(torch.cat([*switched, of_new], dim=-1))
            from_hidden.append(hidden)
        hidden = torch.cat(from_hidden[::-1])
        of_weight = hidden.t() @ before.flatten(0, 1)
        return torch.stack(from_input[::-1]), of_memory, None, of_weight, hidden.sum(dim=0)


class LSTMSequence(torch.autograd.Function):
    """Outputs (T, B, H) and last cells (B, H) of long short-term memory (Hochreiter and Schmidhuber 1997, as
    torch.nn.LSTM writes it).

    * gates: (T, B, 4H), what the inputs say to the input, forget, cell and output gate, the input's bias included.
    * memory: (B, 2H), output beside cell, before the first step. weight (4H, H), bias (4H): of the memory's part.
    """

    @staticmethod
    def forward(
        ctx: Any, gates: Tensor, memory: Tensor, masks: Tensor, weight: Tensor, bias: Tensor
    ) -> tuple[Tensor, Tensor]:
        transposed = weight.t()
        output, cell = memory.chunk(2, dim=-1)
        stores: tuple[list[Tensor], ...] = ([], [], [], [], [])
        for given, mask in zip(gates.unbind(), masks.unbind(), strict=True):
            output, cell = output * mask, cell * mask
            let_in, keep, candidate, let_out = (given + torch.addmm(bias, output, transposed)).chunk(4, dim=-1)
            let_in, keep, let_out = torch.sigmoid(let_in), torch.sigmoid(keep), torch.sigmoid(let_out)
            candidate = torch.tanh(candidate)
            cell_before, cell = cell, torch.addcmul(keep * cell, let_in, candidate)
            output_before, tanh_cell = output, torch.tanh(cell)
            output = let_out * tanh_cell
            gate = torch.stack([let_in, keep, candidate, let_out])
            for store, value in zip(stores, (output_before, cell_before, gate, tanh_cell, output), strict=True):
                store.append(value)
        *kept, outputs = map(torch.stack, stores)
        ctx.save_for_backward(*kept, masks, weight)
        return outputs, cell

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor, of_cell: Tensor) -> tuple[Tensor, Tensor, None, Tensor, Tensor]:
        outputs_before, cells_before, activations, squashed, masks, weight = ctx.saved_tensors
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
        steps = (gradient, from_cell, to_cell, to_let_out, keep, masks)
        of_output, of_gates = torch.zeros_like(gradient[0]), list[Tensor]()
        for own, cell_factors, cell_factor, out_factor, is_kept, mask in zip(
            *(step.unbind()[::-1] for step in steps), strict=True
        ):
            total = own + of_output
            of_cell = torch.addcmul(of_cell, total, cell_factor)
            of_gate = torch.cat([*(of_cell * cell_factors).unbind(), total * out_factor], dim=-1)
            of_output = (of_gate @ weight) * mask
            of_cell = of_cell * is_kept * mask
            of_gates.append(of_gate)
        gates = torch.stack(of_gates[::-1])
        flat = gates.flatten(0, 1)
        of_weight = flat.t() @ outputs_before.flatten(0, 1)
        return gates, torch.cat([of_output, of_cell], dim=-1), None, of_weight, flat.sum(dim=0)
