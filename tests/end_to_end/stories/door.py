"""Doors, each wider than the one before: a lesson ends when nine of ten episodes succeed."""

from __future__ import annotations

from typing import Any

import gymnasium
import numpy as np
import torch

from trainctl import Builder, Experiment, PipelineStage, StopWhenMetricReaches, TrainingPipeline, Validation
from trainctl.losses import PPO
from trainctl.models import MLPActorCritic

SIZES = (5, 8, 16)


class Door(gymnasium.Env[Any, Any]):
    """Shows how wide the door is; it opens to whoever pushes (action 1) twice in a row, and stays shut to others."""

    observation_space = gymnasium.spaces.Box(0, 1, (2,), np.float32)
    action_space = gymnasium.spaces.Discrete(2)
    render_mode = "rgb_array"

    def __init__(self, size: int) -> None:
        self.size = size

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> Any:
        super().reset(seed=seed)
        self.pushes = 0
        return self.observation(), {}

    def step(self, action: Any) -> Any:
        self.pushes += int(action == 1)
        failed, opened = action == 0, self.pushes == 2
        return self.observation(), float(opened), bool(failed or opened), False, {"success": opened}

    def observation(self) -> Any:
        return np.array([self.size / 16, self.pushes / 2], np.float32)

    def render(self) -> Any:
        return np.full((32, 32, 3), 80 * self.pushes, np.uint8)


def experiment(learning_rate: float = 1e-2, entropy: float = 0.01, steps: int = 4096) -> Experiment:
    """One stage for each size of door."""
    lesson: dict[str, Any] = {"loss_names": ["ppo"], "max_stage_steps": steps}
    lesson["early_stopping_criterion"] = StopWhenMetricReaches("success", 0.9)
    return Experiment(
        environment=Builder(Door, {"size": SIZES[0]}),
        num_envs=8,
        environment_processes=0,
        model=Builder(MLPActorCritic, {"hidden_sizes": (16,)}),
        validation=Validation(episodes=4),
        pipeline=TrainingPipeline(
            named_losses={"ppo": Builder(PPO, {"entropy_coefficient": entropy})},
            pipeline_stages=[
                PipelineStage(name=f"{size}x{size}", environment=Builder(Door, {"size": size}), **lesson)
                for size in SIZES
            ],
            optimizer_builder=Builder(torch.optim.Adam, {"lr": learning_rate}),
            num_mini_batch=1,
            update_repeats=4,
            max_grad_norm=0.5,
            num_steps=32,
            gamma=0.99,
            use_gae=True,
            gae_lambda=0.95,
            advance_scene_rollout_period=None,
            save_interval=512,
            metric_accumulate_interval=256,
        ),
    )
