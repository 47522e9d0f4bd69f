from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from trainctl.core.engine.commands.run_statistics import bootstrap_interval, interquartile_mean, spread


def test_the_interquartile_mean_leaves_out_the_lowest_and_the_highest_quarter() -> None:
    assert interquartile_mean(np.array([1000.0, 1, 2, 3, -1000, 4, 5, 6])) == (2 + 3 + 4 + 5) / 4
    assert interquartile_mean(np.array([1.0, 2, 6])) == 3


def test_one_run_has_no_interval() -> None:
    found = spread([7.0])
    assert (found.runs, found.mean, found.interquartile_mean) == (1, 7, 7)
    assert found.mean_ci95 is None
    assert found.interquartile_mean_ci95 is None


@given(st.lists(st.floats(-1e6, 1e6), min_size=2, max_size=12))
def test_the_interval_lies_within_the_values_and_is_always_the_same(values: list[float]) -> None:
    array = np.array(values)
    interval = bootstrap_interval(array, np.median)
    assert interval is not None
    low, high = interval
    assert min(values) <= low <= high <= max(values)
    assert bootstrap_interval(array, np.median) == interval


def test_the_interval_of_many_values_is_that_of_the_normal_distribution() -> None:
    values = np.random.default_rng(0).normal(10, 2, 400)
    interval = bootstrap_interval(values, np.mean)
    assert interval is not None
    assert interval == pytest.approx((values.mean() - 1.96 * 0.1, values.mean() + 1.96 * 0.1), abs=0.05)
