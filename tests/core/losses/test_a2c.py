from __future__ import annotations

import math

import pytest
import torch

from tests.batches import batch_of
from trainctl.core.distributions import DiagonalGaussian
from trainctl.core.errors import ExperimentError
from trainctl.core.losses import A2C
from trainctl.core.model import ActorCriticOutput

MEAN, LOG_STD, ACTIONS = [0.0, 1.0, -1.0], -0.5, [0.5, 0.5, -2.0]
ADVANTAGES, NORMALIZED = [1.0, -2.0, 3.0], [0.1, -1.0, 0.9]
VALUES, RETURNS = [1.0, 2.0, 3.0], [1.5, 2.0, 0.0]


def batch(valid: list[bool] | None = None) -> object:
    return batch_of(
        3,
        actions=torch.tensor(ACTIONS).view(1, 3, 1),
        advantages=ADVANTAGES,
        normalized_advantages=NORMALIZED,
        returns=RETURNS,
        valid=valid,
    )


def output() -> ActorCriticOutput:
    distribution = DiagonalGaussian(torch.tensor(MEAN).view(1, 3, 1), torch.tensor([LOG_STD]))
    return ActorCriticOutput(distribution, torch.tensor([VALUES]), None)


def by_hand(steps: list[int], advantages: list[float]) -> tuple[float, float, float]:
    """Policy, value and entropy part in float64, one step at a time."""
    std = math.exp(LOG_STD)
    policy = value = 0.0
    for i in steps:
        density = math.exp(-((ACTIONS[i] - MEAN[i]) ** 2) / (2 * std**2)) / (std * math.sqrt(2 * math.pi))
        policy -= advantages[i] * math.log(density)
        value += 0.5 * (VALUES[i] - RETURNS[i]) ** 2
    return policy / len(steps), value / len(steps), 0.5 * math.log(2 * math.pi * math.e * std**2)


@pytest.mark.parametrize("normalize", [False, True])
def test_the_loss_is_the_one_computed_by_hand(normalize: bool) -> None:
    result = A2C(value_coefficient=0.4, entropy_coefficient=0.02, normalize_advantage=normalize)(batch(), output())
    policy, value, entropy = by_hand([0, 1, 2], NORMALIZED if normalize else ADVANTAGES)
    assert result.info["policy"].item() == pytest.approx(policy, rel=1e-6)
    assert result.info["value"].item() == pytest.approx(value, rel=1e-6)
    assert result.diagnostics["entropy"].item() == pytest.approx(entropy, rel=1e-6)
    assert result.value.item() == pytest.approx(policy + 0.4 * value - 0.02 * entropy, rel=1e-6)


def test_steps_that_are_no_data_count_for_nothing() -> None:
    result = A2C()(batch(valid=[True, False, True]), output())
    policy, value, entropy = by_hand([0, 2], ADVANTAGES)
    assert result.value.item() == pytest.approx(policy + 0.5 * value - 0.01 * entropy, rel=1e-6)


def test_an_action_that_was_better_than_expected_becomes_more_probable() -> None:
    mean = torch.tensor([[[0.0], [0.0], [0.0]]], requires_grad=True)
    A2C()(batch(), ActorCriticOutput(DiagonalGaussian(mean, torch.zeros(1)), torch.zeros(1, 3), None)).value.backward()
    assert mean.grad is not None
    # towards the action where the advantage is positive, away from it where it is negative
    assert (-mean.grad.sign()).flatten().tolist() == [1.0, -1.0, -1.0]


def test_gradients_are_the_numerical_ones() -> None:
    def loss(mean: torch.Tensor, log_std: torch.Tensor, values: torch.Tensor) -> torch.Tensor:
        return A2C()(batch(), ActorCriticOutput(DiagonalGaussian(mean, log_std), values, None)).value

    arguments = (torch.tensor(MEAN).view(1, 3, 1), torch.tensor([LOG_STD]), torch.tensor([VALUES]))
    assert torch.autograd.gradcheck(loss, tuple(each.double().requires_grad_() for each in arguments))


def test_a_negative_coefficient_is_refused() -> None:
    with pytest.raises(ExperimentError, match="entropy_coefficient must be at least 0"):
        A2C(entropy_coefficient=-0.1)
