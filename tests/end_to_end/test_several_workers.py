"""The same experiment on two workers: `trainctl run --nproc 2`."""

from __future__ import annotations

import hashlib
import json
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from tests.end_to_end.runs import EXPERIMENT
from trainctl.core.engine.launch import NoDisplay, resume
from trainctl.core.engine.saving.checkpoint_choice import choose
from trainctl.core.engine.saving.from_checkpoint import evaluate_checkpoint
from trainctl.core.engine.workers.signals import StopRequest

NAN_ON_ONE_WORKER = """
import os
import gymnasium
import numpy as np


class PoisonedAtOnce(gymnasium.Wrapper):
    def step(self, action):
        observation, reward, terminated, truncated, info = super().step(action)
        poison = float("nan") if os.environ.get("RANK") == "1" else 0.0
        return (observation + poison).astype(np.float32), reward, terminated, truncated, info


def poisoned():
    return PoisonedAtOnce(gymnasium.make("CartPole-v1"))
"""
DIES_ONCE = """
import os
from pathlib import Path
import gymnasium


class DiesOnce(gymnasium.Wrapper):
    steps = 0

    def step(self, action):
        self.steps += 1
        marker = Path(__file__).parent / "has-died"
        if os.environ.get("RANK") == "1" and self.steps == 75 and not marker.exists():
            marker.touch()
            os.kill(os.getpid(), 9)
        return super().step(action)


def dies_once():
    return DiesOnce(gymnasium.make("CartPole-v1"))
"""
ONE_THAT_DIES = "dies_once, environment_processes=0,"
ERROR_ON_ONE_WORKER = """
import os
from trainctl.losses import PPO as Sound


class Faulty(Sound):
    def __call__(self, batch, output):
        if os.environ.get("RANK") == "1":
            raise ValueError("no loss today")
        return super().__call__(batch, output)
"""
STOP_SOON = "early_stopping_criterion=StopWhenMetricReaches('episode/return', 1.0, consecutive_intervals=2)"


def command(folder: Path, name: str, *options: str) -> list[str]:
    """`trainctl run` of the small experiment with two workers."""
    file = folder / "small.py"
    if not file.exists():
        file.write_text(EXPERIMENT)
    words = [sys.executable, "-m", "trainctl", "run", str(file), "--runs-dir", str(folder / "runs"), "--name", name]
    return [*words, "--seed", "1", "--nproc", "2", "--plain", "--json", *options]


def train(folder: Path, name: str, *options: str) -> subprocess.CompletedProcess[str]:
    """Run it to its end."""
    return subprocess.run(command(folder, name, *options), capture_output=True, text=True, timeout=240, check=False)


def weights(process: subprocess.CompletedProcess[str] | None, folder: Path, name: str) -> str:
    """SHA-256 of the last checkpoint's model."""
    assert process is None or process.returncode == 0, process.stderr
    last = checkpoints(folder, name)[-1]
    assert last.name == "step-000000002000"
    return hashlib.sha256((last / "model.safetensors").read_bytes()).hexdigest()


def record(folder: Path, name: str) -> dict[str, Any]:
    return dict(json.loads((folder / "runs" / name / "run.json").read_text()))


def checkpoints(folder: Path, name: str) -> list[Path]:
    return sorted((folder / "runs" / name / "checkpoints").glob("step-*"))


class Warned(NoDisplay):
    """Keeps what it is warned of."""

    def __init__(self) -> None:
        self.warnings: list[str] = []

    def warn(self, text: str) -> None:
        self.warnings.append(text)


def test_two_workers_repeat_and_survive_the_death_of_one(tmp_path: Path) -> None:
    first = weights(train(tmp_path, "first", "--set", "save=200"), tmp_path, "first")
    (tmp_path / "small.py").write_text(DIES_ONCE + EXPERIMENT.replace('"CartPole-v1",', ONE_THAT_DIES))
    process = train(tmp_path, "killed", "--set", "save=200")
    assert process.returncode == 0, process.stderr
    assert json.loads(process.stdout)["status"] == "complete"
    assert weights(process, tmp_path, "killed") == first
    attempts = [(one["from_checkpoint"], one["status"]) for one in record(tmp_path, "killed")["attempts"]]
    assert attempts == [(None, "failed"), ("step-000000000200", "complete")]
    assert weights(train(tmp_path, "again", "--set", "save=1"), tmp_path, "again") == first


def test_compiled_workers_learn_together_what_the_others_do_up_to_rounding(tmp_path: Path) -> None:
    found = []
    for name, option in (("as-it-is", ()), ("compiled", ("--compile",))):
        process = train(tmp_path, name, "--set", "stages=1", "--set", "steps=400", *option)
        assert process.returncode == 0, process.stderr
        found.append(json.loads((tmp_path / "runs" / name / "metrics.jsonl").read_text().splitlines()[0])["means"])
    assert "compiling the update" in process.stderr
    assert "not compiled" not in process.stderr
    plain, compiled = ({tag: mean for tag, mean in one.items() if not tag.startswith("speed/")} for one in found)
    assert compiled == pytest.approx(plain, rel=1e-2, abs=1e-3)


def test_one_early_stop_counts_for_all_and_evaluate_repeats_the_validation_of_the_best(tmp_path: Path) -> None:
    source = EXPERIMENT.replace("save_interval=own", f"save_interval=own, {STOP_SOON}")
    source = source.replace("num_envs=4,", "num_envs=4, validation=Validation(episodes=3),")
    (tmp_path / "small.py").write_text(
        source.replace("PipelineStage,", "PipelineStage, StopWhenMetricReaches, Validation,")
    )
    process = train(tmp_path, "stopped")
    assert process.returncode == 0, process.stderr
    assert [(stage["steps"], stage["reason"]) for stage in record(tmp_path, "stopped")["stages"]] == [
        (800, "stopped early"),
        (800, "stopped early"),
    ]
    best = evaluate_checkpoint(choose(tmp_path / "runs" / "stopped@best"), None, True, None, "cpu")
    lines = (tmp_path / "runs" / "stopped" / "metrics.jsonl").read_text().splitlines()
    logged = {line["total_steps"]: line["means"] for line in map(json.loads, lines) if line["kind"] == "valid"}
    assert {f"valid/{name}": found.mean for name, found in best.summaries.items()} == logged[best.checkpoint.step]


def test_the_first_error_is_shown_with_its_worker_and_line(tmp_path: Path) -> None:
    (tmp_path / "small.py").write_text(ERROR_ON_ONE_WORKER + EXPERIMENT.replace("Builder(PPO)", "Builder(Faulty)"))
    process = train(tmp_path, "faulty", "--max-restarts", "0")
    assert process.returncode == 1
    last = process.stderr[process.stderr.rindex("error: ") :]
    assert last.startswith("error: worker 1: ValueError: no loss today\n  --> ")
    assert "small.py:9   raise ValueError" in last
    (log,) = (tmp_path / "runs" / "faulty" / "logs").glob("*/attempt_0/0/stderr.log")
    kept = log.read_text().splitlines()
    assert f"{tmp_path / 'runs' / 'faulty'}: no checkpoint yet: from the start" in kept
    assert set(kept) <= set(process.stderr.splitlines())


def test_a_nan_on_one_worker_ends_all_with_6(tmp_path: Path) -> None:
    source = NAN_ON_ONE_WORKER + EXPERIMENT.replace('environment="CartPole-v1"', "environment=poisoned")
    (tmp_path / "small.py").write_text(source)
    process = train(tmp_path, "poisoned")
    assert process.returncode == 6, process.stderr
    assert "non-finite" in process.stderr


def test_a_signal_at_the_launcher_saves_all_and_a_single_worker_goes_on(tmp_path: Path) -> None:
    endless = command(tmp_path, "stopped", "--set", "save=200", "--set", "steps=10_000_000")
    with subprocess.Popen(endless, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        try:
            while process.poll() is None and not checkpoints(tmp_path, "stopped"):
                time.sleep(0.01)
            process.send_signal(signal.SIGTERM)
            output, said = process.communicate(timeout=120)
        finally:
            process.kill()
    assert process.returncode == 75, said
    last = checkpoints(tmp_path, "stopped")[-1]
    document = json.loads(output)
    assert (document["status"], document["checkpoint"]) == ("preempted", str(last))
    assert sorted(part.name for part in last.glob("worker-*.pt")) == ["worker-0.pt", "worker-1.pt"]
    alone, request = Warned(), StopRequest()
    request.signal = signal.SIGTERM  # it leaves after one rollout
    outcome = resume(tmp_path / "runs" / "stopped", alone, request=request)
    assert outcome.total_steps == document["total_steps"] + 200
    assert alone.warnings == ["it goes on with 1 worker, there were 2: not with the same bits"]
    attempts = [(one["guarantee"], one["status"]) for one in record(tmp_path, "stopped")["attempts"]]
    assert attempts == [("bit-exact", "preempted"), ("continued", "preempted")]


@pytest.mark.soak
def test_under_torchrun_the_bits_are_the_same(tmp_path: Path) -> None:
    first = weights(train(tmp_path, "first"), tmp_path, "first")
    words = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", "-m", "trainctl"]
    words += ["run", str(tmp_path / "small.py"), "--runs-dir", str(tmp_path / "runs"), "--name", "other", "--seed", "1"]
    process = subprocess.run(words, capture_output=True, text=True, timeout=240, check=False)
    assert weights(process, tmp_path, "other") == first
