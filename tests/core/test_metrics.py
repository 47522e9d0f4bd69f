from __future__ import annotations

import json
import math
from dataclasses import FrozenInstanceError, asdict, replace
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from trainctl.core.metrics import LoggingPackage, ScalarMeanTracker


def tracker(*additions: tuple[dict[str, Any], Any]) -> ScalarMeanTracker:
    filled = ScalarMeanTracker()
    for scalars, n in additions:
        filled.add_scalars(scalars, n)
    return filled


# Small whole numbers add up without rounding, so that what is equal in law is equal in bits.
scalars = st.dictionaries(st.sampled_from(["loss", "return", "success"]), st.integers(-1000, 1000))
additions = st.lists(st.tuples(scalars, st.integers(0, 50)), max_size=8)


# ScalarMeanTracker


def test_means_are_weighted_by_their_counts() -> None:
    assert tracker(({"loss": 1.0}, 1), ({"loss": 5.0}, 3)).means() == {"loss": 4.0}


def test_one_is_the_weight_of_who_gives_none() -> None:
    means = ScalarMeanTracker()
    means.add_scalars({"return": 10})
    means.add_scalars({"return": 20})
    assert means.means() == {"return": 15.0}
    assert means.counts() == {"return": 2}


def test_each_scalar_may_have_its_own_weight() -> None:
    means = tracker(({"a": 1.0, "b": 1.0}, {"a": 1, "b": 3, "unused": 7}), ({"a": 2.0, "b": 5.0}, 1))
    assert means.means() == {"a": 1.5, "b": 2.0}
    assert means.counts() == {"a": 2, "b": 4}


def test_names_keep_the_order_in_which_they_came() -> None:
    assert list(tracker(({"z": 1, "a": 2}, 1), ({"m": 3, "z": 4}, 1)).means()) == ["z", "a", "m"]


def test_reading_changes_nothing_and_popping_empties() -> None:
    means = tracker(({"loss": 3.0}, 2))
    assert means.means() == means.means() == means.pop_and_reset() == {"loss": 3.0}
    assert means.means() == means.counts() == means.pop_and_reset() == {}


@pytest.mark.parametrize("value", [7.0, math.nan, math.inf])
def test_without_weight_there_is_no_mean_and_no_division_by_zero(value: float) -> None:
    means = tracker(({"a": value, "b": 1.0}, {"a": 0, "b": 2}))
    assert means.pop_and_reset() == {"b": 1.0}
    means.add_scalars({"a": 3.0}, 1)
    means.add_scalars({"a": value}, 0)
    assert means.means() == {"a": 3.0}


def test_a_value_that_is_not_finite_shows_in_the_mean() -> None:
    assert math.isnan(tracker(({"loss": math.nan}, 1), ({"loss": 1.0}, 1)).means()["loss"])


def test_everything_with_one_number_in_it_can_be_tracked() -> None:
    values = {"a": True, "b": np.float32(0.5), "c": torch.tensor(2.0), "d": np.array(3)}
    assert tracker((values, 2)).means() == {"a": 1.0, "b": 0.5, "c": 2.0, "d": 3.0}


@pytest.mark.parametrize("value", ["3", None, [1.0], np.zeros(3), torch.zeros(3), 1j])
def test_what_is_no_number_is_refused_by_its_name_and_nothing_is_added(value: Any) -> None:
    means = ScalarMeanTracker()
    with pytest.raises(TypeError, match=r"single number; found .* for 'bad'"):
        means.add_scalars({"good": 1.0, "bad": value})
    assert means.means() == {}


@pytest.mark.parametrize("n", [-1, math.nan, math.inf, {"good": 1, "bad": -0.5}])
def test_a_weight_without_meaning_is_refused_and_nothing_is_added(n: Any) -> None:
    means = ScalarMeanTracker()
    with pytest.raises(ValueError, match=r"weight n of the scalar '.*' must be 0 or more and finite; found"):
        means.add_scalars({"good": 1.0, "bad": 2.0}, n)
    assert means.means() == {}


def test_a_missing_weight_is_named() -> None:
    with pytest.raises(ValueError, match=r"no weight for the scalar 'b'; it has weights for \['a'\]"):
        ScalarMeanTracker().add_scalars({"a": 1.0, "b": 2.0}, n={"a": 1})


@given(workers=st.lists(additions, min_size=1, max_size=4))
def test_workers_added_up_give_the_means_of_one_that_saw_everything(workers: list[list[Any]]) -> None:
    together = ScalarMeanTracker()
    for worker in workers:
        together.add_sums_and_counts(tracker(*worker).sums_and_counts())
    alone = tracker(*(addition for worker in workers for addition in worker))
    assert together.means() == alone.means()
    assert together.counts() == alone.counts()


@given(additions=additions)
def test_a_mean_lies_between_what_was_averaged(additions: list[Any]) -> None:
    for name, mean in tracker(*additions).means().items():
        seen = [added[name] for added, n in additions if name in added and n > 0]
        assert min(seen) <= mean <= max(seen)


@given(before=additions, after=additions)
def test_a_tracker_goes_on_from_its_saved_state(before: list[Any], after: list[Any]) -> None:
    resumed = tracker(({"gone": 1.0}, 1))
    resumed.load_state_dict(json.loads(json.dumps(tracker(*before).state_dict())))
    for addition in after:
        resumed.add_scalars(*addition)
    unbroken = tracker(*before, *after)
    assert resumed.state_dict() == unbroken.state_dict()
    assert list(resumed.means()) == list(unbroken.means())


def test_a_saved_state_is_no_view_of_the_tracker() -> None:
    means = tracker(({"loss": 3.0}, 2))
    state = means.state_dict()
    assert state == {"loss": [6.0, 2.0]}
    state["loss"][0] = 100.0
    assert means.means() == {"loss": 3.0}


def test_sums_without_a_count_are_left_out() -> None:
    means = ScalarMeanTracker()
    means.add_sums_and_counts({"a": (0.0, 0.0), "b": (6.0, 3.0)})
    assert means.means() == {"b": 2.0}


def test_a_tracker_shows_its_means() -> None:
    assert repr(tracker(({"loss": 3.0}, 2))) == "ScalarMeanTracker({'loss': 3.0})"


# LoggingPackage

PACKAGE = LoggingPackage(
    kind="train",
    stage="imitate",
    stage_index=1,
    total_steps=3000,
    stage_steps=1000,
    means={"episode/return": 21.5},
    counts={"episode/return": 4.0},
    wall_seconds=2.5,
)


def test_a_package_goes_through_json_whole() -> None:
    assert json.loads(json.dumps(PACKAGE.to_json())) == asdict(PACKAGE)


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_what_json_cannot_say_becomes_null(value: float) -> None:
    package = replace(PACKAGE, means={"loss/ppo/value": value, "episode/return": 1.0})
    written = json.dumps(package.to_json(), allow_nan=False)
    assert json.loads(written)["means"] == {"loss/ppo/value": None, "episode/return": 1.0}


def test_a_package_is_for_the_log_unless_it_says_otherwise_and_cannot_be_changed() -> None:
    assert PACKAGE.should_log
    package: Any = PACKAGE
    with pytest.raises(FrozenInstanceError):
        package.should_log = False
