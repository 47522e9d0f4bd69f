from __future__ import annotations

import json
import os
import shlex
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from tests.cli.conftest import TINY, Trainctl

pytest.importorskip("optuna", reason="a sweep needs the extra `sweep`")

ROOT = Path(__file__).parents[2]


def begin(folder: Path, trials: int, *words: str) -> subprocess.Popen[str]:
    """`trainctl sweep` of the tiny experiment, two trials at a time, in a process of its own."""
    fixed = ["--set", "pause=0.01", "--set", "save_interval=32", "--trials", str(trials), "--jobs", "2", "--json"]
    command = [sys.executable, "-m", "trainctl", "sweep", str(TINY), "learning_rate=1e-5..1e-2:log", *fixed, *words]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    return subprocess.Popen(command, cwd=folder, env=environment, stdout=subprocess.PIPE, text=True)


def intervals(sweep: Path, run: str) -> list[int]:
    path = sweep / run / "metrics.jsonl"
    return [json.loads(line)["total_steps"] for line in path.read_text().splitlines()] if path.exists() else []


def wait_for(process: subprocess.Popen[str], sweep: Path, run: str, count: int) -> None:
    while len(intervals(sweep, run)) < count:
        assert process.poll() is None
        time.sleep(0.02)


def check_whole(sweep: Path, document: dict[str, Any], trials: int) -> None:
    """So many trials, none lost, none doubled, each trained once from its beginning to its end."""
    runs = [Path(one["run"]).name for one in document["trials"]]
    assert runs == [f"trial-{number:03d}" for number in range(trials)]
    assert sorted(path.name for path in sweep.glob("trial-*")) == runs
    assert {one["state"] for one in document["trials"]} == {"complete"}
    assert len({one["parameters"]["learning_rate"] for one in document["trials"]}) == trials
    for one, run in zip(document["trials"], runs, strict=True):
        assert intervals(sweep, run) == [32, 64, 96, 128]
        settings = json.loads((sweep / run / "run.json").read_text())["settings"]
        assert settings["learning_rate"] == one["parameters"]["learning_rate"]
    assert document["best"]["value"] == max(one["value"] for one in document["trials"])


@pytest.mark.slow
def test_a_sweep_killed_in_the_middle_and_typed_again_goes_on(tmp_path: Path) -> None:
    sweep = tmp_path / "runs" / "tiny-sweep"
    process = begin(tmp_path, trials=2)
    wait_for(process, sweep, "trial-001", 2)
    process.kill()
    process.communicate()
    process = begin(tmp_path, trials=2)
    out, _ = process.communicate(timeout=240)
    assert process.returncode == 0
    document = json.loads(out)
    check_whole(sweep, document, 2)
    best = shlex.split(document["best"]["command"])
    assert best[:3] == ["trainctl", "run", str(TINY)]
    assert f"learning_rate={document['best']['parameters']['learning_rate']}" in best


@pytest.mark.soak
@pytest.mark.timeout(1200)
def test_twelve_trials_killed_over_and_over_are_twelve_trials(tmp_path: Path) -> None:
    sweep = tmp_path / "runs" / "tiny-sweep"
    for last in range(1, 12, 2):
        process = begin(tmp_path, trials=12)
        wait_for(process, sweep, f"trial-{last:03d}", 1 + last % 4)
        process.send_signal(signal.SIGTERM if last % 4 == 1 else signal.SIGKILL)
        process.communicate()
        assert process.returncode == (75 if last % 4 == 1 else -signal.SIGKILL)
    out, _ = begin(tmp_path, trials=12).communicate(timeout=600)
    check_whole(sweep, json.loads(out), 12)


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        (["learning=1e-5..1e-2"], "experiment has no parameter 'learning'"),
        (["learning_rate=1e-2..1e-5"], "must be below"),
        (["steps=32,64", "--metric", "retrun"], "no metric is called 'retrun'"),
        (["steps=32,64", "--metric", "valid/return"], "the experiment has no validation"),
    ],
)
def test_what_makes_no_sense_is_refused_and_leaves_nothing(
    trainctl: Trainctl, tmp_path: Path, words: list[str], complaint: str
) -> None:
    said = trainctl("sweep", TINY, *words)
    assert said.code == 2
    assert complaint in said.err
    assert list(tmp_path.iterdir()) == []
