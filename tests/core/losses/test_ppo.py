from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from tests.batches import batch_of
from trainctl.core.distributions import Categorical
from trainctl.core.errors import ExperimentError
from trainctl.core.losses import PPO, LossOutput
from trainctl.core.losses.ppo import clipped_surrogate, clipped_value_error
from trainctl.core.model import ActorCriticOutput

LOGITS = [[0.3, -0.2], [1.0, 0.5], [-0.7, 0.4], [0.0, 0.0]]
ACTIONS = [0, 1, 1, 0]
OLD_LOG_PROBS = [-0.9, -0.3, -0.3, -0.7]
ADVANTAGES = [2.0, -1.0, 3.0, -4.0]
NORMALIZED = [0.5, -0.5, 1.0, -1.0]
VALUES, OLD_VALUES, RETURNS = [1.0, 2.0, 3.0, 4.0], [0.5, 2.1, 2.0, 4.5], [2.0, 2.0, 0.0, 5.0]


def batch(**changes: Any) -> Any:
    fields = {
        "actions": ACTIONS,
        "log_probs": OLD_LOG_PROBS,
        "advantages": ADVANTAGES,
        "normalized_advantages": NORMALIZED,
        "values": OLD_VALUES,
        "returns": RETURNS,
    }
    return batch_of(4, **{**fields, **changes})


def output(logits: Any = LOGITS, values: Any = VALUES) -> ActorCriticOutput:
    return ActorCriticOutput(Categorical(torch.tensor([logits])), torch.tensor([values]), None)


def log_softmax(logits: list[float]) -> list[float]:
    total = math.log(sum(math.exp(logit) for logit in logits))
    return [logit - total for logit in logits]


def by_hand(
    steps: list[int], clip: float = 0.2, clip_value: bool = False, advantages: list[float] = NORMALIZED
) -> dict[str, float]:
    """The parts of the loss in float64, one step at a time."""
    parts = {"policy": 0.0, "value": 0.0, "entropy": 0.0, "approx_kl": 0.0, "clip_fraction": 0.0}
    for i in steps:
        log_probs = log_softmax(LOGITS[i])
        log_ratio = log_probs[ACTIONS[i]] - OLD_LOG_PROBS[i]
        ratio = math.exp(log_ratio)
        clipped = min(max(ratio, 1 - clip), 1 + clip)
        parts["policy"] -= min(ratio * advantages[i], clipped * advantages[i])
        error = (VALUES[i] - RETURNS[i]) ** 2
        if clip_value:
            near = OLD_VALUES[i] + min(max(VALUES[i] - OLD_VALUES[i], -clip), clip)
            error = max(error, (near - RETURNS[i]) ** 2)
        parts["value"] += 0.5 * error
        parts["entropy"] -= sum(math.exp(log_prob) * log_prob for log_prob in log_probs)
        parts["approx_kl"] += ratio - 1 - log_ratio
        parts["clip_fraction"] += abs(ratio - 1) > clip
    return {name: total / len(steps) for name, total in parts.items()}


def check(result: LossOutput, expected: dict[str, float], value_coefficient: float, entropy_coefficient: float) -> None:
    found = {name: part.item() for name, part in {**result.info, **result.diagnostics}.items()}
    assert found == pytest.approx(expected, rel=1e-6, abs=1e-7)
    total = expected["policy"] + value_coefficient * expected["value"] - entropy_coefficient * expected["entropy"]
    assert result.value.item() == pytest.approx(total, rel=1e-6)


@pytest.mark.parametrize("clip_value", [False, True])
@pytest.mark.parametrize("clip_range", [0.05, 0.2, 10.0])
def test_the_loss_is_the_one_computed_by_hand(clip_range: float, clip_value: bool) -> None:
    loss = PPO(clip_range=clip_range, value_coefficient=0.7, entropy_coefficient=0.03, clip_value=clip_value)
    check(loss(batch(), output()), by_hand([0, 1, 2, 3], clip_range, clip_value), 0.7, 0.03)


def test_advantages_are_taken_as_they_are_when_asked() -> None:
    loss = PPO(normalize_advantage=False)
    check(loss(batch(), output()), by_hand([0, 1, 2, 3], advantages=ADVANTAGES), 0.5, 0.01)


def test_steps_that_are_no_data_count_for_nothing() -> None:
    fields = {"valid": [True, False, True, False], "log_probs": [-0.9, -math.inf, -0.3, math.nan]}
    check(PPO()(batch(**fields), output()), by_hand([0, 2]), 0.5, 0.01)


def test_the_clip_range_decays_with_the_steps_of_the_stage() -> None:
    loss = PPO(clip_range=0.4, clip_decay=lambda steps: 1 - steps / 1000)
    check(loss(batch(stage_steps=500), output()), by_hand([0, 1, 2, 3], 0.2), 0.5, 0.01)


def test_more_entropy_makes_the_loss_smaller() -> None:
    plain, curious = (PPO(entropy_coefficient=coefficient)(batch(), output()).value for coefficient in (0.0, 1.0))
    assert curious < plain


def test_a_policy_that_has_not_moved_has_no_divergence_and_the_gradient_of_the_policy_gradient() -> None:
    logits = torch.tensor([LOGITS], dtype=torch.float64, requires_grad=True)
    actions = torch.tensor([ACTIONS])
    distribution = Categorical(logits)
    now = distribution.log_prob(actions)
    steps = batch(log_probs=now.detach(), normalized_advantages=torch.tensor([NORMALIZED], dtype=torch.float64))
    result = PPO(value_coefficient=0, entropy_coefficient=0)(
        steps, ActorCriticOutput(distribution, torch.zeros(1, 4), None)
    )
    assert result.diagnostics["approx_kl"].item() == 0
    assert result.diagnostics["clip_fraction"].item() == 0
    (found,) = torch.autograd.grad(result.value, logits, retain_graph=True)
    (expected,) = torch.autograd.grad(-(now * steps.normalized_advantages).mean(), logits)
    torch.testing.assert_close(found, expected)


@given(st.floats(0.01, 5), st.floats(-5, 5), st.floats(0.01, 0.9))
def test_the_surrogate_never_promises_more_than_the_unclipped_objective(
    ratio: float, advantage: float, clip_range: float
) -> None:
    found = clipped_surrogate(*torch.tensor([ratio, advantage], dtype=torch.float64), clip_range).item()
    assert found >= -ratio * advantage - 1e-12
    if abs(ratio - 1) <= clip_range:
        assert found == pytest.approx(-ratio * advantage)


@pytest.mark.parametrize(("ratio", "advantage"), [(1.5, 1.0), (0.5, -1.0)])
def test_a_ratio_that_left_the_range_on_the_good_side_gets_no_gradient(ratio: float, advantage: float) -> None:
    ratios = torch.tensor([ratio], requires_grad=True)
    clipped_surrogate(ratios, torch.tensor([advantage]), 0.2).sum().backward()
    assert ratios.grad is not None
    assert ratios.grad.item() == 0


def test_gradients_are_the_numerical_ones() -> None:
    draw = torch.Generator().manual_seed(0)
    ratio, advantage, values, old, returns = (
        torch.rand(20, generator=draw, dtype=torch.float64) + 0.5 for _ in range(5)
    )
    ratio.requires_grad_()
    values.requires_grad_()
    assert torch.autograd.gradcheck(lambda r: clipped_surrogate(r, advantage - 1, 0.2), ratio)
    assert torch.autograd.gradcheck(lambda v: clipped_value_error(v, old, returns, 0.2), values)


@pytest.mark.parametrize(
    "arguments", [{"clip_range": 0}, {"value_coefficient": -1}, {"entropy_coefficient": math.nan}, {"clip_range": "0"}]
)
def test_an_argument_out_of_its_range_is_refused(arguments: dict[str, Any]) -> None:
    with pytest.raises(ExperimentError, match=next(iter(arguments))):
        PPO(**arguments)
