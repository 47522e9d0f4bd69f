from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.core.engine.saving.checkpoints import save
from trainctl.core.engine.commands.run_comparison import compare, is_same
from trainctl.core.engine.saving.run_directory import RunDirectory

NAN = float("nan")


def run(folder: Path, name: str, lines: list[dict[str, Any]], **content: Any) -> RunDirectory:
    """A run with a checkpoint at 10 steps and these lines of metrics."""
    directory = RunDirectory(folder / name)
    directory.checkpoints.mkdir(parents=True)
    save(directory.checkpoints, 10, **content)
    directory.metrics.write_text("".join(json.dumps(line) + "\n" for line in lines), "utf-8")
    return directory


def line(step: int, **means: float | None) -> dict[str, Any]:
    return {"total_steps": step, "wall_seconds": 0.1 * step, "means": {**means, "speed/steps_per_second": 7.0 * step}}


def state(**progress: Any) -> dict[str, Any]:
    return {"progress": {"total_steps": 10, "seconds": 1.0, **progress}, "sinks": {"offset": 1}}


def test_runs_that_are_alike_but_for_the_clock_do_not_differ(tmp_path: Path) -> None:
    one = run(tmp_path, "one", [line(5, loss=1.0), line(10, loss=None)], shared=state())
    slower = {**line(5, loss=1.0), "wall_seconds": 99.0}
    slower["means"] = {**slower["means"], "speed/steps_per_second": 1.0}
    later = {**state(seconds=50.0), "sinks": {"offset": 2}}
    other = run(tmp_path, "other", [slower, line(10, loss=None)], shared=later)
    found = compare(one, other)
    assert found.difference is None
    assert (found.checkpoints, found.tensors) == (1, 3)
    assert found.metrics == 4


@pytest.mark.parametrize(
    ("content", "name", "values"),
    [
        ({"weight": 2.0}, "model.weight", ("1.0 (entry 0)", "2.0 (entry 0)")),
        ({"shared": state(rollouts=3)}, "progress.rollouts", ("'missing'", "3")),
        (
            {"own": {"random": {"state": torch.tensor([0, 1, 9])}}},
            "random of worker 0.state",
            ("2 (entry 2)", "9 (entry 2)"),
        ),
        (
            {"own": {"random": {"state": torch.zeros(2)}}},
            "random of worker 0.state",
            ("a tensor of shape (3,) and torch.int64", "a tensor of shape (2,) and torch.float32"),
        ),
    ],
)
def test_the_first_difference_is_named(
    content: dict[str, Any], name: str, values: tuple[str, str], tmp_path: Path
) -> None:
    one = run(tmp_path, "one", [], shared=state())
    other = run(tmp_path, "other", [], **{"shared": state(), **content})
    difference = compare(one, other).difference
    assert difference is not None
    assert (difference.step, difference.name) == (10, name)
    assert (difference.uninterrupted, difference.resumed) == values
    assert str(difference) == f"at 10 steps: {name} is {values[0]} uninterrupted, {values[1]} resumed"


def test_a_metric_that_differs_earlier_comes_first(tmp_path: Path) -> None:
    one = run(tmp_path, "one", [line(5, loss=1.0)], weight=1.0)
    other = run(tmp_path, "other", [line(5, loss=1.5)], weight=2.0)
    difference = compare(one, other).difference
    assert difference is not None
    assert (difference.step, difference.name) == (5, "loss in metrics.jsonl")
    assert (difference.uninterrupted, difference.resumed) == ("1.0", "1.5")


def test_a_line_that_is_missing_is_a_difference(tmp_path: Path) -> None:
    one = run(tmp_path, "one", [line(5, loss=1.0), line(9, loss=1.0)])
    other = run(tmp_path, "other", [line(5, loss=1.0)])
    difference = compare(one, other).difference
    assert difference is not None
    assert (difference.step, difference.resumed) == (9, "None")


def test_a_last_checkpoint_that_one_run_lacks_is_a_difference(tmp_path: Path) -> None:
    one, other = run(tmp_path, "one", []), run(tmp_path, "other", [])
    save(other.checkpoints, 20)
    difference = compare(one, other).difference
    assert difference is not None
    assert difference.name == "the last checkpoint"
    assert (difference.uninterrupted, difference.resumed) == ("step-000000000010", "step-000000000020")


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        (torch.tensor([1.0, NAN]), torch.tensor([1.0, NAN]), True),
        (torch.tensor(0.0), torch.tensor(-0.0), False),
        (torch.tensor(1.0), torch.tensor(1.0, dtype=torch.float64), False),
        (torch.zeros(2, 0), torch.zeros(2, 0), True),
        (torch.zeros(2), torch.zeros(2, 1), False),
        (torch.tensor([True]), torch.tensor([True]), True),
        (math.nan, math.nan, True),
        (1, 1.0, False),
        (None, "missing", False),
    ],
)
def test_the_same_means_the_same_bits(one: Any, other: Any, same: bool) -> None:
    assert is_same(one, other) is same
