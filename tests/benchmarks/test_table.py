"""The arithmetic behind the benchmarks' table and picture."""

from __future__ import annotations

import pytest

from benchmarks.table import OURS, OURS_COMPILED, Measured, picture, ratios_row, speeds_row, spread, table

PEERS = {"sb3": "Stable-Baselines3", "sf": "Sample Factory"}
MEASURED = Measured(
    "CartPole",
    "2026-01-01 12:00",
    {OURS: [900.0, 1000.0, 5000.0], OURS_COMPILED: [2000.0], "sb3": [500.0, 250.0]},
    [{"environment": 300.0, "network": 200.0}, {"environment": 500.0, "network": 300.0}],
)


def test_ratios_are_of_medians_so_that_one_odd_round_does_not_count() -> None:
    assert MEASURED.ratio(OURS, "sb3") == pytest.approx(1000 / 375)


def test_the_floor_is_the_median_of_environment_and_network_together() -> None:
    assert MEASURED.over_floor(OURS) == pytest.approx(1000 / 650)  # µs a step: 1000 of ours, 650 of the floor


def test_a_peer_without_the_workload_shows_a_dash() -> None:
    speeds = ["1,000 (900–5,000)", "2,000 (2,000–2,000)", "375 (250–500)", "–"]
    assert speeds_row("W1", MEASURED, list(PEERS)) == ["W1 CartPole", *speeds, "2026-01-01 12:00"]
    ratios = ["2.67 / 5.33", "–", "400 + 250", "1.54 / 0.77"]
    assert ratios_row("W1", MEASURED, list(PEERS)) == ["W1 CartPole", *ratios]


def test_every_row_has_a_cell_for_every_column() -> None:
    text = table({"W1": MEASURED, "W7": Measured("BabyAI", "now", {OURS: [1.0]})}, PEERS)
    for one in text.split("\n\n"):
        heading, rule, *rows = one.splitlines()
        assert {line.count("|") for line in (heading, rule, *rows)} == {heading.count("|")}
        assert len(rows) == 2


def test_nothing_measured_is_a_dash() -> None:
    assert spread([]) == "–"


def test_the_picture_has_a_bar_for_each_program_and_none_for_a_workload_without_a_peer() -> None:
    drawn = picture({"W1": MEASURED, "W7": Measured("BabyAI", "now", {OURS: [1.0]})}, PEERS)
    assert "2.7 ×  1,000/s" in drawn
    assert "1.0 ×  375/s" in drawn
    assert "BabyAI" not in drawn
