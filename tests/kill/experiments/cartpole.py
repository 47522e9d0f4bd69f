"""CartPole that saves several times a second; its environments in this process or in two others."""

from __future__ import annotations

import torch

from trainctl import Builder, Experiment, PipelineStage, TrainingPipeline
from trainctl.losses import PPO
from trainctl.models import MLPActorCritic


def experiment(steps: int = 40_000, processes: int = 0, save_interval: int = 512, width: int = 16) -> Experiment:
    return Experiment(
        environment="CartPole-v1",
        num_envs=8,
        model=Builder(MLPActorCritic, {"hidden_sizes": (width,)}),
        environment_processes=processes,
        pipeline=TrainingPipeline(
            named_losses={"ppo": Builder(PPO)},
            pipeline_stages=[
                PipelineStage(loss_names=["ppo"], max_stage_steps=steps // 2, name="first"),
                PipelineStage(loss_names=["ppo"], max_stage_steps=steps // 2, name="second"),
            ],
            optimizer_builder=Builder(torch.optim.Adam, {"lr": 1e-3}),
            num_steps=32,
            num_mini_batch=2,
            update_repeats=2,
            max_grad_norm=0.5,
            gamma=0.99,
            use_gae=True,
            gae_lambda=0.95,
            advance_scene_rollout_period=None,
            save_interval=save_interval,
            metric_accumulate_interval=1024,
        ),
    )
