from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from torch import Tensor

from tests.batches import batch_of
from trainctl.core.distributions import Categorical
from trainctl.core.errors import TrainctlError
from trainctl.core.losses import Imitation, LossOutput
from trainctl.core.model import ActorCriticOutput

PROBABILITIES = [[0.5, 0.5], [0.9, 0.1], [0.2, 0.8], [0.4, 0.6]]


def loss_of(has_expert: list[bool], logits: Tensor | None = None, **fields: Any) -> LossOutput:
    steps = batch_of(4, expert_actions=[0, 1, 1, 0], has_expert=has_expert, **fields)
    logits = torch.tensor([PROBABILITIES]).log() if logits is None else logits
    return Imitation()(steps, ActorCriticOutput(Categorical(logits), torch.zeros(1, 4), None))


def test_the_loss_is_the_cross_entropy_where_the_expert_has_an_action() -> None:
    result = loss_of([True, True, False, True])
    expected = -(math.log(0.5) + math.log(0.1) + math.log(0.4)) / 3
    assert result.value.item() == pytest.approx(expected)
    assert result.info["expert_cross_entropy"].item() == pytest.approx(expected)
    assert result.info["expert_available"].item() == 0.75


def test_steps_that_are_no_data_count_for_nothing() -> None:
    result = loss_of([True, True, False, True], valid=[True, False, True, True])
    assert result.value.item() == pytest.approx(-(math.log(0.5) + math.log(0.4)) / 2)
    assert result.info["expert_available"].item() == pytest.approx(2 / 3)


def test_without_any_expert_the_loss_is_zero_and_so_is_its_gradient() -> None:
    logits = torch.tensor([PROBABILITIES]).log().requires_grad_()
    result = loss_of([False] * 4, logits)
    result.value.backward()
    assert result.value.item() == 0
    assert logits.grad is not None
    assert logits.grad.abs().max() == 0


def test_an_action_that_the_policy_rules_out_matters_only_where_the_expert_takes_it() -> None:
    impossible = torch.tensor([[[0.0, 0.0], [0.0, -math.inf], [0.0, 0.0], [0.0, 0.0]]])
    assert loss_of([True, False, True, True], impossible).value.item() == pytest.approx(math.log(2))
    assert loss_of([True, True, True, True], impossible).value.item() == math.inf


def test_gradients_are_the_numerical_ones() -> None:
    logits = torch.tensor([PROBABILITIES], dtype=torch.float64).log().requires_grad_()
    assert torch.autograd.gradcheck(lambda own: loss_of([True, False, True, True], own).value, logits)


def test_it_says_that_it_needs_an_expert_and_refuses_a_batch_without() -> None:
    assert Imitation.needs_expert
    with pytest.raises(TrainctlError, match="without expert actions"):
        Imitation()(batch_of(4), ActorCriticOutput(Categorical(torch.zeros(1, 4, 2)), torch.zeros(1, 4), None))
