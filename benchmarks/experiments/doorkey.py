"""MiniGrid's DoorKey in one room of 5x5 cells, for a fixed number of steps."""

from __future__ import annotations

from typing import Any

import gymnasium
import minigrid
import torch

from trainctl import Builder, Experiment, PipelineStage, TrainingPipeline
from trainctl.losses import PPO
from trainctl.models import MiniGridActorCritic
from trainctl.wrappers import SuccessMetric, TokenizedMission


def doorkey() -> gymnasium.Env[Any, Any]:
    gymnasium.register_envs(minigrid)
    return SuccessMetric(TokenizedMission(gymnasium.make("MiniGrid-DoorKey-5x5-v0", disable_env_checker=True)))


def experiment(steps: int = 81_920, num_envs: int = 16, processes: int = 0) -> Experiment:
    return Experiment(
        environment=doorkey,
        num_envs=num_envs,
        environment_processes=processes,
        model=Builder(MiniGridActorCritic, {"cell_size": 16}),
        pipeline=TrainingPipeline(
            named_losses={"ppo": Builder(PPO, {"clip_range": 0.2, "entropy_coefficient": 0.02})},
            pipeline_stages=[PipelineStage(loss_names=["ppo"], max_stage_steps=steps)],
            optimizer_builder=Builder(torch.optim.Adam, {"lr": 5e-4}),
            num_steps=64,
            num_mini_batch=4,
            update_repeats=4,
            gamma=0.99,
            use_gae=True,
            gae_lambda=0.95,
            max_grad_norm=0.5,
            grad_norm_type=2,
            advance_scene_rollout_period=None,
            save_interval=50_000,
            metric_accumulate_interval=5_000,
        ),
    )
