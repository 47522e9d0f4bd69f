from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from tests.oracles import Step, advantages_of, returns_of
from trainctl.core.engine.collecting.returns import discounted_returns, generalized_advantages, next_values

shapes = st.tuples(st.integers(1, 12), st.integers(1, 3))
factors = st.floats(0, 1)


def random_rollout(seed: int, shape: tuple[int, int]) -> dict[str, Tensor]:
    """A rollout of float64 noise in which either flag is set on every third step."""
    draw = np.random.default_rng(seed)
    names = ("rewards", "values", "final_values")
    rollout = {name: torch.from_numpy(draw.normal(size=shape)) for name in names}
    rollout |= {name: torch.from_numpy(draw.random(shape) < 1 / 3) for name in ("terminated", "truncated")}
    return rollout | {"bootstrap_value": torch.from_numpy(draw.normal(size=shape[1]))}


def following(rollout: dict[str, Tensor]) -> Tensor:
    names = ("values", "bootstrap_value", "terminated", "truncated", "final_values")
    return next_values(**{name: rollout[name] for name in names})


def steps_of(rollout: dict[str, Tensor], environment: int) -> list[Step]:
    """One environment's steps; the value after each is looked up by hand."""
    values = [*rollout["values"][:, environment].tolist(), float(rollout["bootstrap_value"][environment])]
    steps = []
    for t in range(len(values) - 1):
        terminated = bool(rollout["terminated"][t, environment])
        truncated = bool(rollout["truncated"][t, environment]) and not terminated
        final_value = float(rollout["final_values"][t, environment])
        next_value = 0.0 if terminated else final_value if truncated else values[t + 1]
        reward = float(rollout["rewards"][t, environment])
        steps.append(Step(0.0, reward, terminated, truncated, values[t], next_value))
    return steps


@given(st.integers(0, 2**32), shapes, factors, factors)
def test_advantages_are_the_discounted_sums_of_the_errors(
    seed: int, shape: tuple[int, int], gamma: float, gae_lambda: float
) -> None:
    rollout = random_rollout(seed, shape)
    ended = rollout["terminated"] | rollout["truncated"]
    found = generalized_advantages(rollout["rewards"], rollout["values"], following(rollout), ended, gamma, gae_lambda)
    for environment in range(shape[1]):
        expected = advantages_of(steps_of(rollout, environment), gamma, gae_lambda)
        np.testing.assert_allclose(found[:, environment], expected, rtol=0, atol=1e-12)


@given(st.integers(0, 2**32), shapes, factors)
def test_returns_are_the_discounted_sums_of_the_rewards(seed: int, shape: tuple[int, int], gamma: float) -> None:
    rollout = random_rollout(seed, shape)
    ended = rollout["terminated"] | rollout["truncated"]
    found = discounted_returns(rollout["rewards"], following(rollout), ended, gamma)
    for environment in range(shape[1]):
        expected = returns_of(steps_of(rollout, environment), gamma)
        np.testing.assert_allclose(found[:, environment], expected, rtol=0, atol=1e-12)


@given(st.integers(0, 2**32), shapes, factors)
def test_with_lambda_one_the_advantage_is_the_return_minus_the_value(
    seed: int, shape: tuple[int, int], gamma: float
) -> None:
    rollout = random_rollout(seed, shape)
    ended = rollout["terminated"] | rollout["truncated"]
    advantages = generalized_advantages(rollout["rewards"], rollout["values"], following(rollout), ended, gamma, 1.0)
    returns = discounted_returns(rollout["rewards"], following(rollout), ended, gamma)
    torch.testing.assert_close(advantages, returns - rollout["values"])


def test_with_lambda_zero_the_advantage_is_the_error_of_one_step() -> None:
    rewards, values = torch.tensor([[1.0], [2.0]]), torch.tensor([[10.0], [20.0]])
    nothing_ended = torch.zeros(2, 1, dtype=torch.bool)
    after = torch.tensor([[20.0], [30.0]])
    found = generalized_advantages(rewards, values, after, nothing_ended, 0.5, 0.0)
    assert found.tolist() == [[1 + 10 - 10], [2 + 15 - 20]]


@pytest.mark.parametrize(
    ("terminated", "truncated", "expected"),
    [(False, False, 30.0), (False, True, 99.0), (True, False, 0.0), (True, True, 0.0)],
)
def test_what_comes_after_a_step_depends_on_how_it_ended(terminated: bool, truncated: bool, expected: float) -> None:
    found = next_values(
        torch.tensor([[10.0]]),
        torch.tensor([30.0]),
        torch.tensor([[terminated]]),
        torch.tensor([[truncated]]),
        torch.tensor([[99.0]]),
    )
    assert found.item() == expected


def test_a_value_that_is_not_finite_after_the_end_of_an_episode_does_not_reach_back() -> None:
    values = torch.tensor([[1.0], [torch.nan]])
    terminated = torch.tensor([[True], [False]])
    nothing = torch.zeros_like(terminated)
    after = next_values(values, torch.tensor([torch.nan]), terminated, nothing, torch.zeros(2, 1))
    assert discounted_returns(torch.ones(2, 1), after, terminated, 0.9)[0].item() == 1.0
