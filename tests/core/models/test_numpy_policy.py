from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from gymnasium import spaces

from trainctl.core.distributions import sampling_noise
from trainctl.core.models.numpy_policy import NumpyPolicy
from trainctl.models import CNNActorCritic, MLPActorCritic, ObservationNormalizer

FIVE = spaces.Box(-np.inf, np.inf, (5,))
CHOICE, CONTINUOUS = spaces.Discrete(3), spaces.Box(-1, 1, (2,))


def model_of(action_space: Any = CHOICE, **arguments: Any) -> MLPActorCritic:
    torch.manual_seed(0)
    model = MLPActorCritic(FIVE, action_space, **arguments)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter += 0.3 * torch.randn_like(parameter)
    return model


def both(model: MLPActorCritic, action_space: Any) -> tuple[np.ndarray, np.ndarray]:
    """What torch and NumPy draw for 40 environments from the same noise."""
    generator = np.random.default_rng(0)
    observations = generator.normal(3, 5, (40, 5)).astype(np.float32)
    noise = sampling_noise(action_space, generator, 40)
    distribution, _ = model.policy(torch.from_numpy(observations)[None], None, torch.ones(1, 40))
    return distribution.sample(torch.from_numpy(noise)).detach().numpy()[0], NumpyPolicy(model)(observations, noise)


@pytest.mark.parametrize("activation", ["tanh", "relu"])
@pytest.mark.parametrize("hidden_sizes", [(), (8,), (64, 64)])
def test_it_chooses_as_the_model_does(activation: str, hidden_sizes: tuple[int, ...]) -> None:
    by_torch, by_numpy = both(model_of(hidden_sizes=hidden_sizes, activation=activation), CHOICE)
    assert len(set(by_torch.tolist())) > 1
    np.testing.assert_array_equal(by_numpy, by_torch)


def test_it_draws_continuous_actions_as_the_model_does() -> None:
    by_torch, by_numpy = both(model_of(CONTINUOUS), CONTINUOUS)
    assert by_numpy.dtype == np.float32
    np.testing.assert_allclose(by_numpy, by_torch, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("updated", [False, True])
def test_it_normalizes_as_the_model_does(updated: bool) -> None:
    model = model_of(CONTINUOUS, normalize_observations=True)
    normalizer = model.encoder.boxes
    assert isinstance(normalizer, ObservationNormalizer)
    if updated:
        normalizer.update(*normalizer.measure(torch.randn(100, 5) * 4 + 3))
    by_torch, by_numpy = both(model, CONTINUOUS)
    np.testing.assert_allclose(by_numpy, by_torch, rtol=1e-4, atol=1e-5)


def test_it_acts_with_the_parameters_as_they_are_now() -> None:
    model = model_of(CONTINUOUS)
    policy = NumpyPolicy(model)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.zero_()
    policy.begin()
    assert policy(np.ones((1, 5), np.float32), np.full((1, 2), 7, np.float32)).tolist() == [[7, 7]]


class Subclass(MLPActorCritic):
    pass


@pytest.mark.parametrize(
    ("why_not", "model", "num_envs"),
    [
        ("it has a memory", lambda: model_of(memory="gru"), 8),
        ("an activation NumPy lacks", lambda: model_of(activation="gelu"), 8),
        ("several choices", lambda: model_of(spaces.MultiDiscrete([2, 3])), 8),
        ("a subclass may act otherwise", lambda: Subclass(FIVE, CHOICE), 8),
        ("so many that threads pay", lambda: model_of(), 65),
        ("observations are a dictionary", lambda: MLPActorCritic(spaces.Dict({"a": FIVE}), CHOICE), 8),
        ("observations are choices", lambda: MLPActorCritic(spaces.Discrete(4), CHOICE), 8),
        ("images", lambda: CNNActorCritic(spaces.Box(0, 255, (12, 12, 3), np.uint8), CHOICE), 8),
    ],
)
def test_it_does_not_fit_where(why_not: str, model: Any, num_envs: int) -> None:
    assert NumpyPolicy.fits(model_of(), 64)
    assert not NumpyPolicy.fits(model(), num_envs)
