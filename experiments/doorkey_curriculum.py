"""MiniGrid's DoorKey, first in a 5x5 room, then 6x6, then 8x8 (`pip install trainctl[minigrid]`).

Each stage has its own environments, and ends as soon as 90 % of the episodes of an interval succeed: find the key, open
the door, reach the goal.
"""

from typing import Any

import gymnasium
import minigrid
import torch

from trainctl import Builder, Experiment, PipelineStage, StopWhenMetricReaches, TrainingPipeline
from trainctl.losses import PPO
from trainctl.models import MiniGridActorCritic
from trainctl.wrappers import SuccessMetric, TokenizedMission


def doorkey(size: int) -> gymnasium.Env[Any, Any]:
    """A room of size x size cells with a locked door in the middle."""
    gymnasium.register_envs(minigrid)
    env = gymnasium.make(f"MiniGrid-DoorKey-{size}x{size}-v0", disable_env_checker=True)
    return SuccessMetric(TokenizedMission(env))


def lesson(size: int, steps: int) -> PipelineStage:
    """PPO in rooms of one size, until they are mastered or the steps are used up."""
    return PipelineStage(
        loss_names=["ppo"],
        max_stage_steps=steps,
        environment=Builder(doorkey, {"size": size}),
        early_stopping_criterion=StopWhenMetricReaches("success", 0.9, minimum_episodes=50),
        name=f"{size}x{size}",
    )


def experiment(steps_per_stage: int = 500_000, learning_rate: float = 1e-3) -> Experiment:
    """Three lessons for one model; its view of 7x7 cells is the same in every room."""
    return Experiment(
        environment=Builder(doorkey, {"size": 5}),
        num_envs=16,
        model=Builder(MiniGridActorCritic, {"cell_size": 16}),
        pipeline=TrainingPipeline(
            named_losses={"ppo": Builder(PPO, {"clip_range": 0.2, "entropy_coefficient": 0.01})},
            pipeline_stages=[lesson(5, steps_per_stage), lesson(6, steps_per_stage), lesson(8, steps_per_stage)],
            optimizer_builder=Builder(torch.optim.Adam, {"lr": learning_rate}),
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
            metric_accumulate_interval=10_000,
        ),
    )
