"""TrainingSettings: the range of each setting, and which one is in force."""

from __future__ import annotations

import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trainctl import ExperimentError, TrainingSettings
from trainctl.core.settings import SETTING_NAMES, own_settings, resolve

FULL: dict[str, Any] = {
    "num_mini_batch": 4,
    "update_repeats": 3,
    "max_grad_norm": 0.5,
    "num_steps": 128,
    "gamma": 0.99,
    "use_gae": True,
    "gae_lambda": 0.95,
    "advance_scene_rollout_period": 7,
    "save_interval": 700,
    "metric_accumulate_interval": 1000,
    "grad_norm_type": 2.0,
}


@pytest.mark.parametrize(
    ("name", "value", "text"),
    [
        ("num_mini_batch", 0, "num_mini_batch must be at least 1, not 0"),
        ("num_mini_batch", 2.0, "num_mini_batch must be a whole number, not 2.0 (float)"),
        ("update_repeats", -1, "update_repeats must be at least 0, not -1"),
        ("max_grad_norm", 0, "max_grad_norm must be above 0, not 0"),
        ("max_grad_norm", math.nan, "max_grad_norm must be above 0, not nan"),
        ("num_steps", "128", "num_steps must be a whole number, not '128' (str)"),
        ("num_steps", True, "num_steps must be a whole number, not True (bool)"),
        ("gamma", 1.0001, "gamma must be between 0 and 1, not 1.0001"),
        ("gamma", -0.1, "gamma must be between 0 and 1, not -0.1"),
        ("gamma", math.nan, "gamma must be between 0 and 1, not nan"),
        ("gae_lambda", 2, "gae_lambda must be between 0 and 1, not 2"),
        ("use_gae", 1, "use_gae must be True or False, not 1"),
        ("advance_scene_rollout_period", 0, "advance_scene_rollout_period must be at least 1, not 0"),
        ("save_interval", 0.5, "save_interval must be a whole number, not 0.5 (float)"),
        ("metric_accumulate_interval", 0, "metric_accumulate_interval must be at least 1, not 0"),
        ("grad_norm_type", 0, "grad_norm_type must be above 0, not 0"),
    ],
)
def test_a_setting_out_of_its_range_is_refused(name: str, value: Any, text: str) -> None:
    with pytest.raises(ExperimentError) as caught:
        TrainingSettings(**{name: value})
    assert [fault.message for fault in caught.value.faults] == [text]


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("num_mini_batch", 1),
        ("update_repeats", 0),
        ("max_grad_norm", math.inf),
        ("gamma", 0),
        ("gamma", 1),
        ("save_interval", -1),
        ("save_interval", 0),
        ("grad_norm_type", math.inf),
    ],
)
def test_the_ends_of_the_ranges_are_allowed(name: str, value: Any) -> None:
    assert getattr(TrainingSettings(**{name: value}), name) == value


def test_all_settings_that_are_wrong_are_named_each_on_its_line() -> None:
    with pytest.raises(ExperimentError) as caught:
        TrainingSettings(
            num_steps=0,
            gamma=3,
        )
    assert [fault.location and fault.location.source for fault in caught.value.faults] == ["num_steps=0,", "gamma=3,"]


def test_settings_are_given_by_name_only() -> None:
    with pytest.raises(TypeError, match="positional"):
        TrainingSettings(4)  # type: ignore[misc]


@given(st.sets(st.sampled_from(SETTING_NAMES)))
def test_a_stage_s_own_settings_stand_and_all_others_are_the_pipeline_s(own: set[str]) -> None:
    changed = {name: not FULL[name] if name == "use_gae" else FULL[name] / 2 for name in own}
    whole = {name for name in own if isinstance(FULL[name], int) and name != "use_gae"}
    stage = TrainingSettings(**(changed | {name: FULL[name] + 1 for name in whole}))
    resolved = resolve(stage, TrainingSettings(**FULL))
    for name in SETTING_NAMES:
        assert getattr(resolved, name) == (getattr(stage, name) if name in own else FULL[name])
    assert set(own_settings(stage)) == own


def test_what_nobody_says_has_the_meaning_of_none_in_the_pipeline() -> None:
    open_ones = ("update_repeats", "max_grad_norm", "advance_scene_rollout_period", "save_interval", "grad_norm_type")
    resolved = resolve(
        TrainingSettings(), TrainingSettings(**{name: FULL[name] for name in FULL if name not in open_ones})
    )
    assert [getattr(resolved, name) for name in open_ones] == [1, None, None, None, math.inf]
