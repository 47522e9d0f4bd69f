from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.nn import functional as F

from trainctl.core.models.lookup import added_rows, looked_up

INDICES = torch.tensor([[3, 0, 3], [1, 3, 1]])


def table() -> Tensor:
    return torch.arange(8, dtype=torch.float64).view(4, 2).requires_grad_()


def test_rows_and_their_gradient_are_those_of_an_embedding() -> None:
    ours, theirs = table(), table()
    found = looked_up(ours, INDICES)
    assert found.shape == (2, 3, 2)
    assert found[0, 2].tolist() == [6.0, 7.0]
    weights = torch.arange(12, dtype=torch.float64).view(2, 3, 2)
    (found * weights).sum().backward()
    (F.embedding(INDICES, theirs) * weights).sum().backward()
    assert ours.grad is not None
    assert ours.grad.tolist() == [[2.0, 3.0], [16.0, 18.0], [0.0, 0.0], [12.0, 15.0]]
    assert torch.equal(ours.grad, theirs.grad)  # type: ignore[arg-type]


@pytest.mark.parametrize("kind", [torch.int64, torch.int32])
@given(rows=st.integers(1, 5), size=st.integers(1, 40), shape=st.lists(st.integers(0, 5), min_size=1, max_size=3))
@settings(max_examples=30, deadline=None)
def test_in_float32_the_bits_are_those_of_rows_added_one_after_the_other(
    kind: torch.dtype, rows: int, size: int, shape: list[int]
) -> None:
    generator = torch.Generator().manual_seed(0)
    indices = torch.randint(rows, shape, generator=generator, dtype=kind)
    gradient = torch.randn(size, *shape, generator=generator).movedim(0, -1)  # not contiguous
    expected = torch.zeros(rows, size).index_add_(0, indices.flatten(), gradient.flatten(0, -2))
    assert torch.equal(added_rows(gradient, indices, rows), expected)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_a_graph_knows_the_gradient_of_a_table_that_is_made_of_parameters() -> None:
    def gradient(parameters: Tensor) -> Tensor:
        return torch.func.grad(lambda own: looked_up(3 * own, INDICES).square().sum())(parameters)

    parameters = table().detach()
    found = torch.compile(gradient, fullgraph=True)(parameters)
    torch.testing.assert_close(found, gradient(parameters))
    assert found.tolist() == [[0.0, 18.0], [72.0, 108.0], [0.0, 0.0], [324.0, 378.0]]
