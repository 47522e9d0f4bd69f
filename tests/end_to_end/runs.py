"""Small trainings for tests, through the same functions that the commands call."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

from trainctl.core.engine.launch import NoDisplay, resume, start
from trainctl.core.engine.options import Outcome, RunOptions
from trainctl.core.engine.saving.checkpoint import list_checkpoints

EXPERIMENT = """
import torch
from trainctl import Builder, Experiment, LinearDecay, PipelineStage, TrainingPipeline
from trainctl.losses import PPO
from trainctl.models import MLPActorCritic


def optional(text: str):
    return None if text == "inherit" else int(text)


def experiment(steps: int = 1000, num_steps: int = 50, save: int | None = 700, second_save: str = "inherit",
               interval: int = 400, should_log: bool = True, stages: int = 2) -> Experiment:
    def stage(index: int) -> PipelineStage:
        own = optional(second_save) if index == 1 else None
        return PipelineStage(loss_names=["ppo"], max_stage_steps=steps, save_interval=own)

    return Experiment(
        environment="CartPole-v1",
        num_envs=4,
        model=Builder(MLPActorCritic, {"hidden_sizes": (16,)}),
        pipeline=TrainingPipeline(
            named_losses={"ppo": Builder(PPO)},
            pipeline_stages=[stage(index) for index in range(stages)],
            optimizer_builder=Builder(torch.optim.Adam, {"lr": 1e-3}),
            lr_scheduler_builder=Builder(torch.optim.lr_scheduler.LambdaLR, {"lr_lambda": LinearDecay(2 * steps)}),
            num_mini_batch=2, update_repeats=1, max_grad_norm=0.5, num_steps=num_steps, gamma=0.99, use_gae=True,
            gae_lambda=0.95, advance_scene_rollout_period=None, save_interval=save,
            metric_accumulate_interval=interval, should_log=should_log,
        ),
    )
"""


def run(folder: Path, name: str, seed: int = 1, **settings: Any) -> Outcome:
    """Train the experiment above (or the one in the folder) as `runs/NAME` below the folder."""
    file = folder / "small.py"
    if not file.exists():
        file.write_text(EXPERIMENT)
    texts = {key: str(value) for key, value in settings.items()}
    return start(RunOptions(file, texts, seed=seed, name=name, runs_dir=folder / "runs"), NoDisplay(), ["test"])


def go_on(path: Path) -> Outcome:
    """Resume a run or a checkpoint."""
    return resume(path, NoDisplay())


def checkpoint_steps(outcome: Outcome) -> list[int]:
    """The total steps of the checkpoints that a run has."""
    return [int(path.name.removeprefix("step-")) for path in list_checkpoints(outcome.run / "checkpoints")]


def weights(outcome: Outcome) -> str:
    """SHA-256 of the last checkpoint's model."""
    assert outcome.checkpoint is not None
    return hashlib.sha256((outcome.checkpoint / "model.safetensors").read_bytes()).hexdigest()


def metrics(outcome: Outcome) -> list[dict[str, Any]]:
    """The lines of metrics.jsonl without what the clock says."""
    lines = [json.loads(line) for line in (outcome.run / "metrics.jsonl").read_text().splitlines()]
    for line in lines:
        line.pop("wall_seconds")
        line["means"] = {tag: mean for tag, mean in line["means"].items() if not tag.startswith("speed/")}
    return lines
