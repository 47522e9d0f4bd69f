from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from gymnasium import spaces
from hypothesis import given
from hypothesis import strategies as st

from trainctl.core.engine.environments.spaces import (
    action_layout,
    allocate,
    from_environment,
    is_same_space,
    observation_layout,
    to_environment,
    writer,
)
from trainctl.core.errors import ExperimentError

BOX = spaces.Box(np.array([[-1.0, 0.0]]), np.array([[1.0, 5.0]]), dtype=np.float64)
ACTION_SPACES = [
    spaces.Discrete(4),
    spaces.Discrete(3, start=3),
    spaces.MultiDiscrete([2, 5]),
    spaces.MultiDiscrete([[2, 5], [3, 4]]),
    spaces.MultiDiscrete([2, 5], start=[10, -3]),
    spaces.MultiBinary(3),
    spaces.MultiBinary([2, 2]),
    spaces.Box(-2, 3, (2, 3), np.float32),
    BOX,
]
every_action_space = pytest.mark.parametrize("space", ACTION_SPACES, ids=str)


@every_action_space
@given(seed=st.integers(0, 2**31))
def test_an_action_survives_the_way_to_the_policy_and_back(space: Any, seed: int) -> None:
    space.seed(seed)
    actions = [space.sample() for _ in range(3)]
    policys = allocate(action_layout(space), 3)
    for i, action in enumerate(actions):
        policys[i] = from_environment(space, action)
    back = to_environment(space)(policys)
    for found, action in zip(back, actions, strict=True):
        assert space.contains(found if space.shape else found.item())
        np.testing.assert_allclose(found, action, rtol=1e-7)


@every_action_space
def test_the_environments_actions_share_no_memory_with_the_policys(space: Any) -> None:
    policys = allocate(action_layout(space), 2)
    assert not np.shares_memory(to_environment(space)(policys), policys)


@every_action_space
def test_the_policy_counts_from_zero(space: Any) -> None:
    lowest = to_environment(space)(allocate(action_layout(space), 1))[0]
    expected = np.asarray(getattr(space, "start", 0))
    np.testing.assert_array_equal(lowest, np.broadcast_to(expected, space.shape))


def test_actions_of_a_box_are_clipped_to_it() -> None:
    found = to_environment(BOX)(np.array([[-7.0, -7.0], [0.5, 9.0]], np.float32))
    assert found.tolist() == [[[-1.0, 0.0]], [[0.5, 5.0]]]
    assert found.dtype == np.float64


def test_actions_of_an_unbounded_box_are_left_alone() -> None:
    space = spaces.Box(-np.inf, np.inf, (1,), np.float32)
    assert to_environment(space)(np.array([[1e30]], np.float32)).tolist() == [[np.float32(1e30)]]


@pytest.mark.parametrize(
    ("space", "action"),
    [
        (spaces.Discrete(3), 3),
        (spaces.Discrete(3), -1),
        (spaces.Discrete(3, start=3), 0),
        (spaces.Discrete(3), 1.7),
        (spaces.Discrete(3), "up"),
        (spaces.Discrete(3), [0, 1]),
        (spaces.MultiDiscrete([2, 5]), [0, 5]),
        (spaces.MultiDiscrete([2, 5], start=[1, 1]), [0, 1]),
        (spaces.MultiDiscrete([2, 5]), 1),
        (spaces.MultiBinary(2), [0, 2]),
        (BOX, [[0.0, 6.0]]),
        (BOX, [0.0, 1.0]),
        (BOX, [[np.nan, 1.0]]),
    ],
)
def test_what_is_not_in_the_space_is_refused(space: Any, action: Any) -> None:
    with pytest.raises(ValueError, match=r"is not in|can only convert"):
        from_environment(space, action)


@pytest.mark.parametrize("action", [2, np.int32(2), np.array(2), np.array([2]), True + 1])
def test_a_choice_may_come_as_any_whole_number(action: Any) -> None:
    found = from_environment(spaces.Discrete(3), action)
    assert (found.shape, found.item()) == ((), 2)


def test_observations_are_stored_in_their_own_types_and_float64_as_float32() -> None:
    space = spaces.Dict(
        {
            "image": spaces.Box(0, 255, (4, 4, 3), np.uint8),
            "pose": spaces.Dict({"position": spaces.Box(-1, 1, (2,), np.float64), "room": spaces.Discrete(5)}),
            "flags": spaces.MultiBinary(3),
            "choices": spaces.MultiDiscrete([2, 3]),
        }
    )
    rows = allocate(observation_layout(space), 6, 2)
    assert rows["image"].shape == (6, 2, 4, 4, 3)
    assert rows["image"].dtype == np.uint8
    assert rows["pose"]["position"].dtype == np.float32
    assert rows["pose"]["room"].shape == (6, 2)
    assert rows["pose"]["room"].dtype == np.int64
    assert rows["flags"].dtype == np.int8
    assert rows["choices"].shape == (6, 2, 2)


def test_writing_puts_one_environments_observation_into_its_row() -> None:
    space = spaces.Dict({"a": spaces.Box(-9, 9, (2,), np.float64), "b": spaces.Dict({"c": spaces.Discrete(10)})})
    layout = observation_layout(space)
    rows = allocate(layout, 3)
    writer(layout)(rows, 1, {"b": {"c": 7}, "a": [1.5, 2.5], "more": "than the space says"})
    assert rows["a"].tolist() == [[0, 0], [1.5, 2.5], [0, 0]]
    assert rows["b"]["c"].tolist() == [0, 7, 0]


@pytest.mark.parametrize("space", [spaces.Text(5), spaces.Dict({"mission": spaces.Text(5)}), spaces.Tuple(())])
def test_observations_that_are_no_arrays_are_refused_with_advice(space: Any) -> None:
    with pytest.raises(ExperimentError, match="wrap the environment"):
        observation_layout(space)


@pytest.mark.parametrize("space", [spaces.Text(5), spaces.Dict({"a": spaces.Discrete(2)})])
def test_actions_that_no_model_gives_are_refused_with_advice(space: Any) -> None:
    with pytest.raises(ExperimentError, match="wrap the environment"):
        action_layout(space)


def test_spaces_are_the_same_whatever_floats_they_are_kept_in() -> None:
    one = spaces.Dict({"a": spaces.Box(-0.1, 1, (2,), np.float32), "b": spaces.Discrete(3)})
    other = spaces.Dict({"b": spaces.Discrete(3), "a": spaces.Box(-0.1, 1, (2,), np.float64)})
    assert is_same_space(one, other)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (spaces.Box(0, 1, (2,)), spaces.Box(0, 2, (2,))),
        (spaces.Box(0, 1, (2,)), spaces.Box(0, 1, (3,))),
        (spaces.Box(0, 255, (2,), np.uint8), spaces.Box(0, 255, (2,), np.float32)),
        (spaces.Discrete(3), spaces.Discrete(3, start=1)),
        (spaces.Discrete(3), spaces.MultiDiscrete([3])),
        (spaces.Dict({"a": spaces.Discrete(3)}), spaces.Dict({"b": spaces.Discrete(3)})),
        (spaces.Dict({"a": spaces.Discrete(3)}), spaces.Dict({"a": spaces.Discrete(4)})),
        (spaces.Dict({"a": spaces.Discrete(3)}), spaces.Dict({"a": spaces.Discrete(3), "b": spaces.Discrete(3)})),
    ],
)
def test_spaces_whose_elements_mean_something_else_are_not_the_same(one: Any, other: Any) -> None:
    assert is_same_space(one, one)
    assert not is_same_space(one, other)
    assert not is_same_space(other, one)
