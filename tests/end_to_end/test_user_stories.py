"""What people want to do, typed as they would type it, each with what they need to see."""

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

ROOT = Path(__file__).parents[2]

CURRICULUM = '''
"""Two stages of CartPole, validated."""
import torch
from trainctl import Builder, Experiment, PipelineStage, StopWhenMetricReaches, TrainingPipeline, Validation
from trainctl.losses import PPO
from trainctl.models import MLPActorCritic


def experiment(learning_rate: float = 1e-3, steps: int = 512) -> Experiment:
    return Experiment(
        environment="CartPole-v1",
        num_envs=4,
        model=Builder(MLPActorCritic, {"hidden_sizes": (16,)}),
        validation=Validation(episodes=4),
        pipeline=TrainingPipeline(
            named_losses={"ppo": Builder(PPO)},
            pipeline_stages=[
                PipelineStage(name="easy", loss_names=["ppo"], max_stage_steps=steps,
                              early_stopping_criterion=StopWhenMetricReaches("valid/return", 5)),
                PipelineStage(name="hard", loss_names=["ppo"], max_stage_steps=steps),
            ],
            optimizer_builder=Builder(torch.optim.Adam, {"lr": learning_rate}),
            num_mini_batch=1, update_repeats=1, max_grad_norm=0.5, num_steps=32, gamma=0.99, use_gae=True,
            gae_lambda=0.95, advance_scene_rollout_period=None, save_interval=128, metric_accumulate_interval=128,
        ),
    )
'''


class Terminal:
    """Types commands in a folder, in processes of their own."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.environment = {**os.environ, "PYTHONPATH": str(ROOT), "COLUMNS": "120", "OMP_NUM_THREADS": "1"}

    def begin(self, command: str) -> subprocess.Popen[str]:
        program, *words = shlex.split(command)
        assert program == "trainctl"
        return subprocess.Popen(
            [sys.executable, "-m", "trainctl", *words],
            cwd=self.folder,
            env=self.environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def type(self, command: str, code: int = 0) -> str:
        process = self.begin(command)
        out, err = process.communicate(timeout=240)
        assert process.returncode == code, f"{command}\n{err[-3000:]}"
        return out

    def read(self, command: str) -> Any:
        return json.loads(self.type(command))


@pytest.fixture
def terminal(tmp_path: Path) -> Terminal:
    (tmp_path / "door.py").write_text(CURRICULUM)
    return Terminal(tmp_path)


@pytest.mark.slow
def test_a_first_hour_with_trainctl(terminal: Terminal) -> None:
    assert "torch" in terminal.type("trainctl doctor")
    terminal.type("trainctl examples cp cartpole_ppo .")
    assert "ppo" in terminal.type("trainctl inspect-pipeline cartpole_ppo.py")
    terminal.type("trainctl run cartpole_ppo.py --set steps=4096 --name first --quiet")
    assert "runs/first: complete, 4,096 steps" in terminal.type("trainctl tail runs/first --lines 3")
    assert terminal.read("trainctl evaluate runs/first --episodes 3 --json")["return"]["mean"] > 0


@pytest.mark.slow
def test_a_curriculum_whose_stages_can_be_addressed(terminal: Terminal) -> None:
    """Story 1: stages that end early, and a new run from the end of one of them."""
    terminal.type("trainctl run door.py --seed 1 --name door-1 --quiet")
    metrics = [json.loads(line) for line in (terminal.folder / "runs/door-1/metrics.jsonl").read_text().splitlines()]
    logged = {line["total_steps"]: line["means"] for line in metrics if line["kind"] == "valid"}
    best = terminal.read("trainctl evaluate runs/door-1@best --json")
    step = int(Path(best["checkpoint"]).name.removeprefix("step-"))
    assert best["return"]["mean"] == logged[step]["valid/return"] == max(m["valid/return"] for m in logged.values())
    assert len(terminal.read("trainctl evaluate runs/door-1 --all --json")) == len(logged)
    terminal.type("trainctl run door.py --init-from runs/door-1@stage:easy --name door-2 --quiet")
    source = json.loads((terminal.folder / "runs/door-2/run.json").read_text())["init_from"]
    assert Path(source).name == f"step-{metrics[-1]['total_steps'] - 512:012d}", "the end of the first stage"


@pytest.mark.slow
def test_a_preempted_run_is_submitted_again_and_goes_on(terminal: Terminal) -> None:
    """Story 4: a cluster that takes the machine away."""
    command = "trainctl run door.py --name nav --set steps=200_000 --quiet"
    process = terminal.begin(command)
    while not list((terminal.folder / "runs").glob("nav/checkpoints/step-*/manifest.json")):
        assert process.poll() is None
        time.sleep(0.05)
    process.send_signal(signal.SIGUSR1)
    process.communicate(timeout=60)
    assert process.returncode == 75
    (before,) = terminal.read("trainctl runs --json")
    assert (before["state"], before["attempts"]) == ("preempted", 1)
    process = terminal.begin(command)
    while terminal.read("trainctl runs --json")[0]["total_steps"] <= before["total_steps"]:
        assert process.poll() is None
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=60)
    (after,) = terminal.read("trainctl runs --json")
    assert after["total_steps"] > before["total_steps"]
    assert after["attempts"] == 2


@pytest.mark.slow
def test_seeds_are_trained_compared_and_put_into_a_table(terminal: Terminal) -> None:
    """Stories 7 and 9: what differs between two settings, and the table of a paper."""
    terminal.type("trainctl run door.py --seeds 0-1 --jobs 2 --name slow")
    terminal.type("trainctl run door.py --seeds 0-1 --jobs 2 --name fast --set learning_rate=1e-2")
    runs = " ".join(f"runs/{name}-s{seed}" for name in ("slow", "fast") for seed in (0, 1))
    document = terminal.read(f"trainctl compare {runs} --metric valid/return --json")
    assert [len(group["runs"]) for group in document["groups"]] == [2, 2]
    assert [change["key"] for change in document["differences"][0]["settings"]] == ["optimizer.arguments.lr"]
    table = terminal.type(f"trainctl report {runs} --metric valid/return --format latex")
    assert r"door learning\_rate=1e-2 & 2 &" in table


@pytest.mark.slow
def test_a_policy_is_filmed_and_used_in_a_script(terminal: Terminal) -> None:
    """Story 8: episodes to look at; and the policy in a program of one's own."""
    terminal.type("trainctl run door.py --name nav --quiet")
    films = terminal.read("trainctl record runs/nav@best --episodes 1 --output films --json")
    assert (terminal.folder / films[0]["file"]).suffix == ".gif"
    script = """
import gymnasium
from trainctl import load_policy
policy, env = load_policy("runs/nav@best"), gymnasium.make("CartPole-v1")
observation, _ = env.reset(seed=0)
policy.reset()
print(env.step(policy.act(observation))[1])
"""
    command = [sys.executable, "-c", script]
    done = subprocess.run(
        command, cwd=terminal.folder, env=terminal.environment, capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "1.0"
