from __future__ import annotations

import csv
import importlib.util
import json
from pathlib import Path

import pytest

from tests.cli.conftest import TINY, Trainctl


@pytest.fixture
def three_runs(trainctl: Trainctl) -> None:
    """Two seeds of one setting, and another setting."""
    for name, *words in (["a0"], ["a1", "--seed", "1"], ["b0", "--set", "learning_rate=0.1"]):
        assert trainctl("run", TINY, "--name", name, "--quiet", *words).code == 0


def returns(run: str) -> list[float]:
    lines = [json.loads(line) for line in Path("runs", run, "metrics.jsonl").read_text().splitlines()]
    return [line["means"]["episode/return"] for line in lines if "episode/return" in line["means"]]


@pytest.mark.usefixtures("three_runs")
def test_seeds_are_one_group_and_settings_that_differ_are_named(trainctl: Trainctl) -> None:
    document = trainctl("compare", "runs/a0", "runs/b0", "runs/a1", "--points", 2, "--json").document
    assert [[Path(run).name for run in group["runs"]] for group in document["groups"]] == [["a0", "a1"], ["b0"]]
    (difference,) = document["differences"]
    assert difference["settings"] == [{"key": "optimizer.arguments.lr", "before": 1e-3, "now": 0.1}]
    assert difference["code"] == []
    last = document["at"][-1]
    assert last["total_steps"] == 128
    assert last["groups"][0]["mean"] == pytest.approx((returns("a0")[-1] + returns("a1")[-1]) / 2)
    assert last["groups"][1]["mean"] == returns("b0")[-1]
    assert last["groups"][1]["mean_ci95"] is None


@pytest.mark.usefixtures("three_runs")
def test_code_that_differs_is_shown_as_a_diff(trainctl: Trainctl, tmp_path: Path) -> None:
    changed = TINY.read_text().replace('"""Two stages of CartPole', '"""Two changed stages of CartPole')
    (tmp_path / "tiny.py").write_text(changed)
    assert trainctl("run", "tiny.py", "--name", "c0", "--quiet").code == 0
    out = trainctl("compare", "runs/a0", "runs/c0").out
    assert "--- a0/experiment/tiny.py" in out
    assert '+"""Two changed stages of CartPole' in out


@pytest.mark.usefixtures("three_runs")
def test_the_table_shows_both_groups_at_equal_steps(trainctl: Trainctl) -> None:
    said = trainctl("compare", "runs/a0", "runs/a1", "runs/b0")
    assert said.code == 0
    assert "tiny learning_rate=0.1" in said.out
    assert "optimizer.arguments.lr" in said.out
    assert any(line.split()[:1] == ["128"] and "…" in line for line in said.out.splitlines())


@pytest.mark.usefixtures("three_runs")
def test_a_metric_that_no_run_has_is_answered_with_the_nearest(trainctl: Trainctl) -> None:
    said = trainctl("compare", "runs/a0", "runs/b0", "--metric", "episode/retrun")
    assert said.code == 2
    assert "episode/return" in said.err


@pytest.mark.usefixtures("three_runs")
def test_a_plot_is_drawn_or_its_absence_explained(trainctl: Trainctl, tmp_path: Path) -> None:
    said = trainctl("compare", "runs/a0", "runs/b0", "--plot", "curves.png")
    if importlib.util.find_spec("matplotlib"):
        assert (tmp_path / "curves.png").read_bytes()[:4] == b"\x89PNG"
    else:
        assert said.code == 2
        assert "pip install 'trainctl[plot]'" in said.err


@pytest.mark.usefixtures("three_runs")
def test_a_report_has_a_row_for_each_setting_in_three_formats(trainctl: Trainctl) -> None:
    words = ["report", "runs/a0", "runs/a1", "runs/b0", "--metric", "episode/return"]
    rows = list(csv.DictReader(trainctl(*words, "--format", "csv").out.splitlines()))
    assert [(row["experiment"], row["runs"]) for row in rows] == [("tiny", "2"), ("tiny learning_rate=0.1", "1")]
    mean = (returns("a0")[-1] + returns("a1")[-1]) / 2
    assert float(rows[0]["mean"]) == float(rows[0]["IQM"]) == pytest.approx(mean, rel=1e-5)
    assert float(rows[0]["IQM 95 % low"]) <= mean <= float(rows[0]["IQM 95 % high"])
    assert rows[1]["IQM 95 % low"] == ""
    markdown = trainctl(*words).out.splitlines()
    assert markdown[1] == "| --- | ---: | ---: | ---: | ---: | ---: |"
    latex = trainctl(*words, "--format", "latex").out
    assert r"tiny learning\_rate=0.1 & 1 &" in latex
    assert latex.startswith(r"\begin{tabular}{lrrrrr}")
    last_two = list(csv.DictReader(trainctl(*words, "--format", "csv", "--last", 2).out.splitlines()))
    assert float(last_two[1]["mean"]) == pytest.approx(sum(returns("b0")[-2:]) / 2, rel=1e-5)
