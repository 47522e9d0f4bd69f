from __future__ import annotations

import pytest
import torch
from torch import nn

from trainctl.core.engine.learning.weights import Weights
from trainctl.core.engine.workers.workers import SingleWorker


def test_parameters_keep_their_values_and_become_views_of_one_vector() -> None:
    model = nn.Sequential(nn.Linear(2, 3), nn.Linear(3, 1))
    before = [parameter.tolist() for parameter in model.parameters()]
    (vector,) = Weights(model).vectors
    assert [parameter.tolist() for parameter in model.parameters()] == before
    assert len(vector) == 2 * 3 + 3 + 3 + 1
    model.load_state_dict({name: torch.full_like(value, 7.0) for name, value in model.state_dict().items()})
    assert vector.tolist() == [7.0] * 13


def test_the_gradient_of_what_a_loss_does_not_depend_on_is_none_and_counts_as_zero() -> None:
    model = nn.ModuleList([nn.Linear(1, 1, bias=False), nn.Linear(1, 2, bias=False)])
    weights = Weights(model)
    weights.backward(5 * weights.parameters[1].sum())
    assert not weights.all_used
    weights.backward(3 * weights.parameters[0].sum())
    assert weights.parameters[0].grad == 3
    assert weights.parameters[1].grad is None
    assert weights.gradients[0].tolist() == [3, 0, 0]


def test_clipping_reaches_the_gradients_of_the_parameters() -> None:
    weights = Weights(nn.Linear(2, 1, bias=False))
    weights.backward((torch.tensor([3.0, 4.0]) * weights.parameters[0]).sum())
    norm = weights.norm(2)
    assert norm == 5
    weights.clip(norm, 1.0)
    assert weights.parameters[0].grad is not None
    assert weights.parameters[0].grad.tolist() == [[pytest.approx(0.6), pytest.approx(0.8)]]


def test_numbers_of_several_types_have_a_vector_each_and_one_norm() -> None:
    model = nn.ModuleList([nn.Linear(1, 1, bias=False), nn.Linear(1, 1, bias=False).double()])
    weights = Weights(model)
    first, second = weights.parameters
    weights.backward(3 * first.sum() + 4 * second.sum().float())
    assert [vector.dtype for vector in weights.vectors] == [torch.float32, torch.float64]
    assert float(weights.norm(2)) == 5.0
    assert float(weights.average(torch.tensor(1.0), 1, SingleWorker())) == 1.0


def test_a_parameter_keeps_its_layout_in_memory() -> None:
    model = nn.Conv2d(2, 3, 2).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    before = model.weight.detach().clone()
    weights = Weights(model)
    assert model.weight.is_contiguous(memory_format=torch.channels_last)
    assert torch.equal(model.weight, before)
    weights.backward(model(torch.ones(1, 2, 4, 4)).sum())
    assert model.weight.grad is not None
    assert model.weight.grad.is_contiguous(memory_format=torch.channels_last)
    assert model.weight.grad.unique().tolist() == [9.0]
