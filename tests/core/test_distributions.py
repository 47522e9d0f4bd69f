from __future__ import annotations

import math
from typing import Any

import gymnasium
import numpy as np
import pytest
import torch
from gymnasium import spaces
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.distributions import Categorical as TorchCategorical
from torch.distributions import Independent, Normal

from trainctl.core.distributions import (
    ActionDistribution,
    Categorical,
    DiagonalGaussian,
    MultiCategorical,
    as_action_distribution,
    number_of_parameters,
    sampling_noise,
)

SEEDS = st.integers(0, 2**32 - 1)


def numbers(seed: int, *shape: int) -> torch.Tensor:
    return 3 * torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def noise_for(space: gymnasium.Space[Any], steps: int) -> torch.Tensor:
    return torch.from_numpy(sampling_noise(space, np.random.default_rng(7), steps))


@settings(deadline=None)
@given(SEEDS)
def test_a_categorical_says_what_torch_says(seed: int) -> None:
    logits, actions = numbers(seed, 2, 5, 4), torch.arange(10).view(2, 5) % 4
    ours, theirs = Categorical(logits), TorchCategorical(logits=logits)
    torch.testing.assert_close(ours.log_prob(actions), theirs.log_prob(actions))
    torch.testing.assert_close(ours.entropy(), theirs.entropy())
    assert torch.equal(ours.mode(), theirs.mode)


@settings(deadline=None)
@given(SEEDS)
def test_a_multicategorical_is_the_sum_of_its_choices(seed: int) -> None:
    logits, actions = numbers(seed, 2, 5, 7), torch.tensor([3, 0, 1]).expand(2, 5, 3)
    ours = MultiCategorical(logits, [4, 1, 2])
    theirs = [TorchCategorical(logits=part) for part in (logits[..., :4], logits[..., 4:5], logits[..., 5:])]
    log_probs = sum(part.log_prob(actions[..., i]) for i, part in enumerate(theirs))
    torch.testing.assert_close(ours.log_prob(actions), log_probs)
    torch.testing.assert_close(ours.entropy(), sum(part.entropy() for part in theirs))
    assert torch.equal(ours.mode(), torch.stack([part.mode for part in theirs], dim=-1))


@settings(deadline=None)
@given(SEEDS)
def test_a_gaussian_says_what_torch_says(seed: int) -> None:
    mean, log_std, actions = numbers(seed, 2, 5, 3), numbers(seed + 1, 3) / 3, numbers(seed + 2, 2, 5, 3)
    ours, theirs = DiagonalGaussian(mean, log_std), Independent(Normal(mean, log_std.exp()), 1)
    torch.testing.assert_close(ours.log_prob(actions), theirs.log_prob(actions))
    torch.testing.assert_close(ours.entropy(), theirs.entropy())
    assert torch.equal(ours.mode(), theirs.mode)


@settings(deadline=None)
@given(SEEDS, st.floats(-50, 50))
def test_a_categorical_does_not_change_with_a_constant_added_to_its_logits(seed: int, constant: float) -> None:
    logits, actions = numbers(seed, 6, 4), torch.arange(6) % 4
    torch.testing.assert_close(Categorical(logits).log_prob(actions), Categorical(logits + constant).log_prob(actions))


@settings(deadline=None)
@given(SEEDS)
def test_the_entropy_of_choices_is_at_least_zero_and_at_most_that_of_equal_ones(seed: int) -> None:
    entropy = Categorical(numbers(seed, 20, 4)).entropy()
    assert (entropy >= 0).all()
    assert (entropy <= math.log(4) + 1e-12).all()


def test_discrete_actions_come_as_often_as_their_probability_says() -> None:
    probabilities = torch.tensor([0.1, 0.2, 0.7])
    actions = Categorical(probabilities.log()).sample(noise_for(spaces.Discrete(3), 100_000))
    frequencies = torch.bincount(actions, minlength=3) / 100_000
    torch.testing.assert_close(frequencies, probabilities, atol=0.006, rtol=0)


def test_the_choices_of_a_multicategorical_are_independent() -> None:
    logits = torch.tensor([0.3, 0.7, 0.6, 0.4]).log()
    actions = MultiCategorical(logits, [2, 2]).sample(noise_for(spaces.MultiDiscrete([2, 2]), 100_000))
    frequencies = torch.bincount(2 * actions[:, 0] + actions[:, 1], minlength=4) / 100_000
    torch.testing.assert_close(frequencies, torch.tensor([0.18, 0.12, 0.42, 0.28]), atol=0.006, rtol=0)


def test_gaussian_actions_have_the_mean_and_standard_deviation_they_should() -> None:
    box = spaces.Box(-1, 1, (2,))
    mean, std = torch.tensor([1.0, -2.0]), torch.tensor([0.5, 3.0])
    actions = DiagonalGaussian(mean, std.log()).sample(noise_for(box, 100_000))
    torch.testing.assert_close(actions.mean(dim=0), mean, atol=0.05, rtol=0)
    torch.testing.assert_close(actions.std(dim=0), std, atol=0.05, rtol=0)


def test_an_action_that_is_ruled_out_is_never_drawn_and_costs_no_entropy() -> None:
    logits = torch.tensor([0.0, -math.inf, 0.0], requires_grad=True)
    distribution = Categorical(logits)
    assert 1 not in distribution.sample(noise_for(spaces.Discrete(3), 1_000))
    torch.testing.assert_close(distribution.entropy(), torch.tensor(math.log(2)))
    (distribution.entropy() + distribution.log_prob(torch.tensor(0))).backward()
    assert logits.grad is not None
    torch.testing.assert_close(logits.grad, torch.tensor([0.5, 0.0, -0.5]))


def test_the_log_probability_of_a_gaussian_has_a_gradient_to_mean_and_deviation() -> None:
    mean, log_std = torch.zeros(2, requires_grad=True), torch.zeros(2, requires_grad=True)
    DiagonalGaussian(mean, log_std).log_prob(torch.tensor([1.0, 2.0])).backward()
    assert mean.grad is not None
    assert log_std.grad is not None
    assert mean.grad.tolist() == [1.0, 2.0]
    assert log_std.grad.tolist() == [0.0, 3.0]


@pytest.mark.parametrize(
    ("space", "numbers_of_head"),
    [
        (spaces.Discrete(4), 4),
        (spaces.MultiDiscrete([3, 2]), 5),
        (spaces.MultiBinary(3), 6),
        (spaces.Box(-1, 1, (2, 3)), 6),
    ],
)
def test_noise_has_a_number_for_each_number_of_the_head(space: gymnasium.Space[Any], numbers_of_head: int) -> None:
    assert number_of_parameters(space) == numbers_of_head
    noise = sampling_noise(space, np.random.default_rng(0), 5)
    assert (noise.shape, noise.dtype) == ((5, numbers_of_head), np.float32)


def test_a_space_without_a_distribution_is_refused_by_name() -> None:
    with pytest.raises(TypeError, match=r"Text\(1, 4.*Discrete, MultiDiscrete"):
        number_of_parameters(spaces.Text(4))


def test_noise_is_finite_even_where_the_generator_gives_zero() -> None:
    class Zeros:
        def standard_exponential(self, shape: tuple[int, ...], dtype: Any) -> np.ndarray:
            return np.zeros(shape, dtype)

    assert np.isfinite(sampling_noise(spaces.Discrete(2), Zeros(), 3)).all()  # type: ignore[arg-type]


def test_a_distribution_of_torch_is_given_our_four_verbs_and_ours_stays_itself() -> None:
    logits = numbers(3, 5, 4)
    ours = Categorical(logits)
    assert as_action_distribution(ours) is ours
    wrapped: ActionDistribution = as_action_distribution(TorchCategorical(logits=logits))
    actions = wrapped.sample(torch.empty(0))
    assert actions.shape == (5,)
    torch.testing.assert_close(wrapped.log_prob(actions), ours.log_prob(actions))
    torch.testing.assert_close(wrapped.entropy(), ours.entropy())
    assert torch.equal(wrapped.mode(), ours.mode())
