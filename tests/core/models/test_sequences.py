from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from trainctl.core.models.sequences import GRUSequence, LSTMSequence

T, B, H = 5, 3, 2


def inputs(gates: int, memory: int) -> list[Tensor]:
    generator = torch.Generator().manual_seed(0)
    shapes = [(T, B, gates * H), (B, memory * H), (T, B, 1), (gates * H, H), (gates * H,)]
    found = [torch.randn(shape, dtype=torch.float64, generator=generator).requires_grad_() for shape in shapes]
    found[2] = (found[2] > -0.5).double()
    return found


@pytest.mark.parametrize(("sequence", "gates", "memory"), [(GRUSequence, 3, 1), (LSTMSequence, 4, 2)])
def test_the_gradients_are_those_of_the_outputs(sequence: Any, gates: int, memory: int) -> None:
    given = inputs(gates, memory)
    assert 0 < given[2].sum() < T * B
    assert torch.autograd.gradcheck(sequence.apply, given)


@pytest.mark.parametrize(("sequence", "gates", "memory"), [(GRUSequence, 3, 1), (LSTMSequence, 4, 2)])
def test_a_sequence_is_what_the_cells_give_step_by_step(sequence: Any, gates: int, memory: int) -> None:
    given, now, masks, weight, bias = inputs(gates, memory)
    found = sequence.apply(given, now, masks, weight, bias)
    outputs = found[0]
    identity = torch.eye(gates * H, dtype=torch.float64)
    nothing = torch.zeros(gates * H, dtype=torch.float64)
    for step, mask, output in zip(given, masks, outputs, strict=True):
        if memory == 1:
            now = torch.gru_cell(step, now * mask, identity, weight, nothing, bias)
        else:
            both = torch.lstm_cell(step, (now * mask).chunk(2, dim=-1), identity, weight, nothing, bias)
            now = torch.cat(both, dim=-1)
        torch.testing.assert_close(output, now[:, :H])
