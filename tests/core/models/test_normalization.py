from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from gymnasium import spaces
from hypothesis import given, settings
from hypothesis import strategies as st

from trainctl.models import MLPActorCritic, ObservationNormalizer

BOX = spaces.Box(-np.inf, np.inf, (3,))


def numbers(seed: int, *shape: int) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed)) * 5 + 2


def assert_same_statistics(one: ObservationNormalizer, other: ObservationNormalizer) -> None:
    for name, buffer in one.named_buffers():
        torch.testing.assert_close(buffer, other.get_buffer(name), rtol=1e-10, atol=1e-10)


def test_before_the_first_update_vectors_pass_unchanged() -> None:
    given_vectors = torch.tensor([[[1e6, -2.0, 0.5]]])
    assert torch.equal(ObservationNormalizer({"": BOX})(given_vectors), given_vectors)


@settings(deadline=None)
@given(st.lists(st.integers(1, 20), min_size=1, max_size=5), st.floats(-1e6, 1e6))
def test_after_any_updates_the_statistics_are_those_of_all_observations(sizes: list[int], offset: float) -> None:
    normalizer = ObservationNormalizer({"": BOX})
    batches = [numbers(i, size, 2, 3).double() + offset for i, size in enumerate(sizes)]
    for batch in batches:
        normalizer.update(*normalizer.measure(batch))
    everything = torch.cat(batches).reshape(-1, 3).numpy()
    assert normalizer.count == len(everything)
    np.testing.assert_allclose(normalizer.mean, everything.mean(axis=0), rtol=1e-9)
    np.testing.assert_allclose(normalizer.var, everything.var(axis=0), rtol=1e-3)


def test_vectors_have_mean_0_and_variance_1_and_are_clipped_to_10() -> None:
    normalizer, observations = ObservationNormalizer({"": BOX}), numbers(0, 100, 4, 3)
    normalizer.update(*normalizer.measure(observations))
    normal = normalizer(observations).reshape(-1, 3)
    assert normal.dtype == torch.float32
    torch.testing.assert_close(normal.mean(dim=0), torch.zeros(3), atol=1e-5, rtol=0)
    torch.testing.assert_close(normal.var(dim=0, correction=0), torch.ones(3), atol=1e-5, rtol=0)
    assert normalizer(torch.tensor([[[1e9, -1e9, 2.0]]]))[0, 0, :2].tolist() == [10, -10]


def test_two_workers_that_add_up_are_one() -> None:
    alone, shared = ObservationNormalizer({"": BOX}), ObservationNormalizer({"": BOX})
    for round_ in range(3):
        first, second = numbers(round_, 8, 2, 3), numbers(round_ + 50, 8, 5, 3)
        alone.update(*alone.measure(torch.cat([first, second], dim=1)))
        sums = [a + b for a, b in zip(shared.measure(first), shared.measure(second), strict=True)]
        shared.update(*sums)
    assert_same_statistics(alone, shared)


def test_nothing_observed_changes_nothing() -> None:
    normalizer = ObservationNormalizer({"": BOX})
    normalizer.update(*normalizer.measure(torch.empty(0, 3)))
    assert_same_statistics(normalizer, ObservationNormalizer({"": BOX}))
    normalizer.update(*normalizer.measure(numbers(0, 4, 3)))
    before = normalizer.var.clone()
    normalizer.update(*normalizer.measure(torch.empty(0, 3)))
    assert torch.equal(normalizer.var, before)


def test_forward_changes_no_statistics() -> None:
    normalizer = ObservationNormalizer({"": BOX})
    normalizer.train()(numbers(0, 2, 2, 3))
    assert normalizer.count == 0


def test_a_variance_of_zero_gives_zeros() -> None:
    normalizer = ObservationNormalizer({"": BOX})
    normalizer.update(*normalizer.measure(torch.full((5, 3), 7.0)))
    assert normalizer(torch.full((1, 1, 3), 7.0)).tolist() == [[[0.0, 0.0, 0.0]]]


@pytest.mark.parametrize("memory", [None, "gru"])
def test_a_model_normalizes_only_the_boxes_of_a_dict_and_saves_their_statistics(memory: str | None) -> None:
    space = spaces.Dict({"at": spaces.Box(-1, 1, (2,)), "room": spaces.Discrete(3), "speed": spaces.Box(-1, 1, ())})
    model = MLPActorCritic(space, spaces.Discrete(2), memory=memory, normalize_observations=True)
    (normalizer,) = [module for module in model.modules() if isinstance(module, ObservationNormalizer)]
    observations = {
        "at": numbers(0, 4, 5, 2),
        "room": torch.zeros(4, 5, dtype=torch.int64),
        "speed": numbers(1, 4, 5),
    }
    normalizer.update(*normalizer.measure(observations))
    expected = [*observations["at"].double().mean(dim=(0, 1)).tolist(), float(observations["speed"].double().mean())]
    np.testing.assert_allclose(normalizer.mean, expected)
    fresh = MLPActorCritic(space, spaces.Discrete(2), memory=memory, normalize_observations=True)
    fresh.load_state_dict(model.state_dict())
    ones = torch.ones(4, 5)
    assert torch.equal(fresh(observations, None, ones).values, model(observations, None, ones).values)


@pytest.mark.parametrize("space", [spaces.Discrete(4), spaces.MultiBinary(3)])
def test_observations_that_are_no_boxes_are_not_normalized(space: spaces.Space[Any]) -> None:
    model = MLPActorCritic(space, spaces.Discrete(2), normalize_observations=True)
    assert not [module for module in model.modules() if isinstance(module, ObservationNormalizer)]


def test_boxes_of_truth_values_are_normalized_as_zeros_and_ones() -> None:
    space = spaces.Box(0, 1, (2,), np.bool_)  # type: ignore[arg-type]
    normalizer = ObservationNormalizer({"": space})
    seen = torch.tensor([[[True, False], [False, False], [False, False], [True, False]]])
    normalizer.update(*normalizer.measure(seen))
    assert normalizer(seen).tolist() == [[[1, 0], [-1, 0], [-1, 0], [1, 0]]]
