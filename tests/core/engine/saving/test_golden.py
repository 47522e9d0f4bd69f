"""Checkpoints of every format that was ever written can be read for ever.

`tests/data/format-<n>` is a run that was stopped in its second stage; a new one is made, and never changed again, with

    python -m tests.core.engine.test_golden tests/data/format-<n>
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import sys
import tempfile
from pathlib import Path
from typing import Any

import pytest

from trainctl.core.engine.launch import NoDisplay, resume, start
from trainctl.core.engine.options import RunOptions
from trainctl.core.engine.saving.checkpoint import Checkpoint, list_checkpoints
from trainctl.core.engine.saving.checkpoint_manifest import FORMAT_VERSION
from trainctl.core.engine.saving.from_checkpoint import evaluate_checkpoint
from trainctl.core.engine.saving.run_directory import RunDirectory

DATA = Path(__file__).parents[3] / "data"
FORMATS = sorted(DATA.glob("format-*"))

EXPERIMENT = '''\
"""Something of each kind of state: memory, normalisers, off-policy data, a criterion, a schedule."""

import torch

from trainctl import (
    Builder,
    Experiment,
    LinearDecay,
    OffPolicyPipelineComponent,
    PipelineStage,
    StopWhenMetricReaches,
    TrainingPipeline,
)
from trainctl.losses import PPO, BehaviorCloning
from trainctl.models import MLPActorCritic


def batches():
    for number in range(3):
        observations = torch.full((2, 2, 4), float(number))
        ones = torch.ones(2, 2)
        yield {"observations": observations, "actions": ones.long(), "masks": ones, "valid": ones.bool()}


def experiment() -> Experiment:
    return Experiment(
        environment="CartPole-v1",
        num_envs=2,
        model=Builder(MLPActorCritic, {"hidden_sizes": (4,), "memory": "gru", "memory_size": 4,
                                       "normalize_observations": True}),
        normalize_rewards=True,
        environment_processes=0,
        pipeline=TrainingPipeline(
            named_losses={"ppo": Builder(PPO), "cloning": Builder(BehaviorCloning)},
            pipeline_stages=[
                PipelineStage(loss_names=["ppo"], max_stage_steps=32, name="first"),
                PipelineStage(
                    loss_names=["ppo"], max_stage_steps=96, name="second",
                    offpolicy_component=OffPolicyPipelineComponent(batches, ["cloning"], 1),
                    early_stopping_criterion=StopWhenMetricReaches("return", 1000),
                ),
            ],
            optimizer_builder=Builder(torch.optim.Adam, {"lr": 1e-3}),
            lr_scheduler_builder=Builder(torch.optim.lr_scheduler.LambdaLR, {"lr_lambda": LinearDecay(128)}),
            num_steps=16, num_mini_batch=1, update_repeats=1, max_grad_norm=0.5, gamma=0.99, use_gae=True,
            gae_lambda=0.95, advance_scene_rollout_period=None, save_interval=32, metric_accumulate_interval=32,
        ),
    )
'''


def sums(checkpoint: Checkpoint) -> dict[str, float]:
    return {name: float(tensor.double().sum()) for name, tensor in checkpoint.model().items()}


@pytest.mark.parametrize("golden", FORMATS, ids=lambda path: path.name)
def test_what_was_saved_is_read(golden: Path) -> None:
    expected: dict[str, Any] = json.loads((golden / "expected.json").read_text("utf-8"))
    (path,) = list_checkpoints(golden / "run" / "checkpoints")
    checkpoint = Checkpoint.open(path)
    assert f"format-{checkpoint.manifest['format_version']}" == golden.name
    assert sums(checkpoint) == expected["sums"]
    assert checkpoint.shared()["progress"]["total_steps"] == expected["total_steps"]
    assert sorted(checkpoint.own(0)) == expected["parts of a worker"]


@pytest.mark.parametrize("golden", FORMATS, ids=lambda path: path.name)
def test_its_run_goes_on_to_its_end(golden: Path, tmp_path: Path) -> None:
    shutil.copytree(golden / "run", tmp_path / "run")
    outcome = resume(tmp_path / "run", NoDisplay())
    assert (outcome.status, outcome.total_steps) == ("complete", 128)
    attempt = RunDirectory(outcome.run).read_run()["attempts"][-1]
    assert attempt["guarantee"] in ("bit-exact", "continued")  # that depends on the versions
    evaluated = evaluate_checkpoint(outcome.run, 2, deterministic=True, seed=0, device="cpu")
    assert evaluated.summaries["length"].mean > 0


def test_the_present_format_has_a_checkpoint_too() -> None:
    assert f"format-{FORMAT_VERSION}" in [path.name for path in FORMATS]


def make(target: Path) -> None:
    """A run of this trainctl, preempted at 64 steps."""

    class Stop(NoDisplay):
        def write(self, package: Any) -> None:
            if package.total_steps == 64:
                os.kill(os.getpid(), signal.SIGTERM)

    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "golden.py").write_text(EXPERIMENT, "utf-8")
        options = RunOptions(Path(folder) / "golden.py", name="run", runs_dir=Path(folder), device="cpu")
        outcome = start(options, Stop(), ["golden"])
        run = RunDirectory(target / "run")
        for file in (outcome.run / "run.json", outcome.run / "pipeline.json", outcome.run / "metrics.jsonl"):
            run.path.mkdir(parents=True, exist_ok=True)
            shutil.copy(file, run.path / file.name)
        shutil.copytree(outcome.run / "experiment", run.experiment)
        assert outcome.checkpoint is not None
        shutil.copytree(outcome.checkpoint, run.checkpoints / outcome.checkpoint.name)
        checkpoint = Checkpoint.open(outcome.checkpoint)
        expected = {"sums": sums(checkpoint), "total_steps": 64, "parts of a worker": sorted(checkpoint.own(0))}
        (target / "expected.json").write_text(json.dumps(expected, indent=2) + "\n", "utf-8")


if __name__ == "__main__":
    make(Path(sys.argv[1]))
