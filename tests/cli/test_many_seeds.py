from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.cli.conftest import TINY, Trainctl
from trainctl import TrainctlError
from trainctl.cli.many_seeds import ManySeeds, seeds_of

ROOT = Path(__file__).parents[2]


def test_ranges_and_lists_of_seeds() -> None:
    assert seeds_of("0-4") == [0, 1, 2, 3, 4]
    assert seeds_of("1,5, 7-9,5") == [1, 5, 7, 8, 9]
    for nonsense in ("", "a", "4-1", "1-", "-1"):
        with pytest.raises(TrainctlError, match="is no range of seeds"):
            seeds_of(nonsense)


@pytest.fixture
def trainctl_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", str(ROOT))


@pytest.mark.usefixtures("trainctl_is_found")
def test_each_seed_is_a_run_of_its_own_and_finished_ones_are_not_repeated(trainctl: Trainctl, tmp_path: Path) -> None:
    words = ["run", TINY, "--seeds", "0-1", "--jobs", 2, "--set", "steps=32", "--json"]
    document = trainctl(*words).document
    assert [one["run"] for one in document] == ["runs/tiny-s0", "runs/tiny-s1"]
    assert {one["status"] for one in document} == {"complete"}
    seeds = [json.loads((tmp_path / one["run"] / "run.json").read_text())["seed"] for one in document]
    assert seeds == [0, 1]
    again = trainctl("run", TINY, "--seeds", "0-1", "--set", "steps=32")
    assert again.code == 0
    assert again.err.count("is finished already") == 2
    others = trainctl("run", TINY, "--seeds", "0-2", "--set", "steps=32", "--set", "learning_rate=0.5")
    assert others.code == 4
    assert "runs/tiny-s0: the experiment has changed" in others.err
    assert "optimizer.arguments.lr  0.001       0.5" in others.err
    assert not (tmp_path / "runs" / "tiny-s2").exists()


@pytest.mark.usefixtures("trainctl_is_found")
def test_a_seed_that_fails_gives_its_exit_code_and_the_others_are_trained(
    trainctl: Trainctl, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "argv", ["trainctl", "run", "picky.py", "--seeds", "0-1"])
    (tmp_path / "picky.py").write_text(
        TINY.read_text().replace(
            "return Experiment(", "assert not os.path.exists('runs/picky-s0')\n    return Experiment("
        )
    )
    said = trainctl("run", "picky.py", "--seeds", "0-1", "--name", "picky")
    assert said.code == 2
    lines = said.err.splitlines()
    assert lines[0] == "seed 0: begins in runs/picky-s0"
    assert re.fullmatch(r"seed 0: complete, 128 steps, \d+:\d\d, runs/picky-s0", lines[1])
    assert "seed 1: begins in runs/picky-s1" in lines
    assert re.fullmatch(r"seed 1: failed, exit code 2, \d+:\d\d, no run was made", lines[-4])
    assert lines[-2] == "1 of 2 seeds are finished"
    assert lines[-1] == "  go on       trainctl run picky.py --seeds 0-1"


def test_the_news_of_a_seed_are_its_last_interval(finished: Path) -> None:
    many = ManySeeds([], "tiny", finished.parent, print)
    finished.rename(finished.with_name("tiny-s3"))
    assert re.fullmatch(r"seed 3: 128 steps, ppo\+imitation, return [\d.]+, [\d,]+ steps/s", many.news(3))
    assert many.news(4) == "seed 4: no interval is closed yet"


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["--seeds", "0-1", "--seed", 0], "--seed is for one run"),
        (["--seeds", "0-1", "--profile", 2], "--profile is for one run"),
        (["--seeds", "0-1", "--nnodes", "slurm"], "--nnodes is for one run"),
        (["--jobs", 2], "there are no --seeds"),
    ],
)
def test_options_that_exclude_each_other_are_refused(
    trainctl: Trainctl, tmp_path: Path, words: list[object], expected: str
) -> None:
    said = trainctl("run", TINY, *words)
    assert said.code == 2
    assert expected in said.err
    assert not (tmp_path / "runs").exists()


def test_a_signal_reaches_all_that_train_and_the_same_command_goes_on(tmp_path: Path) -> None:
    words = ["run", str(TINY), "--seeds", "0-1", "--jobs", "2", "--set", "pause=0.02", "--json"]
    command = [sys.executable, "-m", "trainctl", *words]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    process = subprocess.Popen(command, cwd=tmp_path, env=environment, stdout=subprocess.PIPE)
    while len(list((tmp_path / "runs").glob("*/metrics.jsonl"))) < 2:
        assert process.poll() is None
        time.sleep(0.05)
    process.send_signal(signal.SIGTERM)
    out, _ = process.communicate(timeout=60)
    assert process.returncode == 75
    assert [one["status"] for one in json.loads(out)] == ["preempted", "preempted"]
    done = subprocess.run(command, cwd=tmp_path, env=environment, stdout=subprocess.PIPE, check=True)
    assert [one["status"] for one in json.loads(done.stdout)] == ["complete", "complete"]
