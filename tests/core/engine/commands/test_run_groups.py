"""Groups of runs: at which steps they can be compared."""

from __future__ import annotations

from pathlib import Path

from trainctl.core.engine.commands.run_groups import Group, Run, common_steps


def group(*curves: list[int]) -> Group:
    return Group("", [Run(Path(), {}, {}, {"return": [(step, 1.0) for step in steps]}) for steps in curves])


def test_a_curve_is_drawn_at_every_interval_that_all_runs_have_reached() -> None:
    assert common_steps(group([10, 20, 30], [12, 20]), "return", 100) == [10, 12, 20]
    assert common_steps(group([10]), "no such metric", 100) == []


def test_a_long_curve_is_thinned_evenly_and_keeps_its_end() -> None:
    assert common_steps(group(list(range(1, 11))), "return", 4) == [1, 4, 7, 10]
    assert common_steps(group(list(range(1, 9))), "return", 4) == [2, 4, 6, 8]
