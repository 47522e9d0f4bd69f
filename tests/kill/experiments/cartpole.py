"""CartPole that saves several times a second; its environments in this process or in two others."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import gymnasium
import torch

from trainctl import Builder, Experiment, PipelineStage, TrainingPipeline, Validation
from trainctl.losses import PPO
from trainctl.models import MLPActorCritic


class Slow(gymnasium.Wrapper[Any, Any, Any, Any]):
    """Episodes of 100 steps that take a second. The file "episode-<n>" tells that the n-th has begun."""

    def __init__(self) -> None:
        env = gymnasium.make("CartPole-v1", max_episode_steps=100, disable_env_checker=True)
        super().__init__(env)

    def reset(self, **arguments: Any) -> Any:
        Path(f"episode-{len(list(Path().glob('episode-*')))}").touch()
        return super().reset(**arguments)

    def step(self, action: Any) -> Any:
        time.sleep(0.01)
        observation, reward, _, truncated, info = super().step(action)
        return observation, reward, False, truncated, info


def experiment(
    steps: int = 40_000, processes: int = 0, save_interval: int = 512, width: int = 16, validate: bool = False
) -> Experiment:
    return Experiment(
        environment="CartPole-v1",
        num_envs=8,
        model=Builder(MLPActorCritic, {"hidden_sizes": (width,)}),
        environment_processes=processes,
        validation=Validation(Builder(Slow), episodes=1, every=512) if validate else None,
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
