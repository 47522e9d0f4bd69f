"""A loss of one's own that takes the logarithm of zero once the values have become small."""

from __future__ import annotations

from typing import Any

import torch

from trainctl import Builder, Experiment, PipelineStage, TrainingPipeline
from trainctl.losses import PPO, LossOutput
from trainctl.models import MLPActorCritic


class LogOfNothing:
    """Fine for the first thousand steps."""

    def __call__(self, batch: Any, output: Any) -> LossOutput:
        nothing = output.values.mean() * (batch.stage_steps < 1000)
        value = torch.log(nothing.abs() + (batch.stage_steps < 1000))
        return LossOutput(value, {"mean": value})


def experiment() -> Experiment:
    return Experiment(
        environment="CartPole-v1",
        num_envs=8,
        environment_processes=0,
        model=Builder(MLPActorCritic, {"hidden_sizes": (16,)}),
        pipeline=TrainingPipeline(
            named_losses={"ppo": Builder(PPO), "own": Builder(LogOfNothing)},
            pipeline_stages=[PipelineStage(name="nav", loss_names=["ppo", "own"], max_stage_steps=4096)],
            optimizer_builder=Builder(torch.optim.Adam, {"lr": 1e-3}),
            num_mini_batch=1,
            update_repeats=1,
            max_grad_norm=0.5,
            num_steps=32,
            gamma=0.99,
            use_gae=True,
            gae_lambda=0.95,
            advance_scene_rollout_period=None,
            save_interval=256,
            metric_accumulate_interval=256,
        ),
    )
