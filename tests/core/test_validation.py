from __future__ import annotations

from typing import Any

import pytest

from trainctl import Builder, ExperimentError, Validation


@pytest.mark.parametrize(
    ("argument", "value"),
    [
        ("episodes", 0),
        ("every", 0),
        ("seed", -1),
        ("metric", "valid/return"),
        ("lower_is_better", "no"),
        ("environment", Builder(dict)),
    ],
)
def test_a_value_out_of_range_is_refused_where_it_is_written(argument: str, value: Any) -> None:
    with pytest.raises(ExperimentError, match=r"test_validation\.py") as refused:
        Validation(**{argument: value})
    assert argument in str(refused.value)


def test_the_least_and_the_defaults_are_accepted() -> None:
    assert Validation(episodes=1, every=1, seed=0).metric == "return"
