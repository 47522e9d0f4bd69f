from __future__ import annotations

import math

import pytest

from trainctl.cli.text import bar, counted, duration, number, size, sparkline


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0, "0"), (1234.56, "1,235"), (12.3, "12.30"), (-0.0123, "-0.0123"), (1.234e-5, "1.2e-05"),
        (math.nan, "nan"), (-math.inf, "-inf"),
    ],
)  # fmt: skip
def test_numbers_have_about_four_digits(value: float, text: str) -> None:
    assert number(value) == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(5.4, "0:05"), (59.6, "1:00"), (725, "12:05"), (11525, "3:12:05"), (184_320, "2 d 03:12"), (math.inf, "?")],
)
def test_durations(seconds: float, text: str) -> None:
    assert duration(seconds) == text


@pytest.mark.parametrize(("count", "text"), [(512, "512 B"), (1500, "1.5 kB"), (24e6, "24.0 MB"), (3e12, "3000.0 GB")])
def test_sizes(count: float, text: str) -> None:
    assert size(count) == text


def test_sparklines_go_from_the_smallest_to_the_greatest_value() -> None:
    assert sparkline([0, 1, 2, 3, 4, 5, 6, 7]) == "▁▂▃▄▅▆▇█"
    assert sparkline([0.9, 1.0], low=0, high=1) == "▇█"


def test_a_constant_lies_in_the_middle_and_what_is_no_number_is_left_out() -> None:
    assert sparkline([3, 3, math.nan, 3]) == "▄▄ ▄"
    assert sparkline([math.nan, math.inf]) == "  "
    assert sparkline([]) == ""


def test_bars_are_full_at_one_and_never_fuller() -> None:
    assert [bar(share, 4) for share in (-1, 0, 0.5, 1, 2)] == ["╌╌╌╌", "╌╌╌╌", "━━╌╌", "━━━━", "━━━━"]


def test_one_thing_is_not_many() -> None:
    assert [counted(0, "episode"), counted(1, "episode"), counted(1200, "step")] == [
        "0 episodes",
        "1 episode",
        "1,200 steps",
    ]
