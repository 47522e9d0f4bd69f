from __future__ import annotations

import math

import pytest
import torch

from tests.batches import batch_of
from trainctl.core.batch import masked_mean


def test_the_mean_is_over_all_steps_where_all_are_data() -> None:
    assert batch_of(4).mean(torch.tensor([[1.0, 2.0, 3.0, 6.0]])).item() == 3.0


@pytest.mark.parametrize("poison", [math.inf, -math.inf, math.nan])
def test_steps_that_are_no_data_do_not_poison_the_mean(poison: float) -> None:
    batch = batch_of(3, valid=[True, False, True])
    assert batch.mean(torch.tensor([[1.0, poison, 3.0]])).item() == 2.0


@pytest.mark.parametrize("poison", [math.inf, math.nan])
def test_steps_that_are_no_data_have_a_gradient_of_zero(poison: float) -> None:
    values = torch.tensor([[1.0, poison, 3.0]], requires_grad=True)
    batch_of(3, valid=[True, False, True]).mean(2 * values).backward()
    assert values.grad is not None
    assert values.grad.tolist() == [[1.0, 0.0, 1.0]]


def test_the_mean_over_no_steps_is_zero_and_has_a_graph() -> None:
    values = torch.ones(1, 2, requires_grad=True)
    mean = masked_mean(values, torch.zeros(1, 2, dtype=torch.bool))
    assert mean.item() == 0.0
    mean.backward()
    assert values.grad is not None
    assert values.grad.tolist() == [[0.0, 0.0]]


def test_the_size_counts_the_steps_that_are_data() -> None:
    assert batch_of(5).size == 5
    assert batch_of(5, valid=[True, False, True, True, False]).size == 3
