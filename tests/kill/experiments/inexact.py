"""Experiments that no resume can repeat, each for another reason."""

from __future__ import annotations

import os
from typing import Any

import gymnasium
import numpy as np
import torch

from trainctl import Builder, EarlyStoppingCriterion, Experiment, PipelineStage, ScalarMeanTracker, TrainingPipeline
from trainctl.losses import PPO
from trainctl.models import MLPActorCritic


class Windy(gymnasium.Wrapper[Any, Any, Any, Any]):
    """CartPole in a wind that comes from the system, or from a count of all steps that were ever taken here."""

    def __init__(self, wind: str) -> None:
        super().__init__(gymnasium.make("CartPole-v1", disable_env_checker=True))
        self.wind, self.steps = wind, 0

    def step(self, action: Any) -> Any:
        observation, *rest = super().step(action)
        self.steps += 1
        gust = {"none": 0.0, "system": os.urandom(1)[0] / 1e5, "count": self.steps / 1e4}[self.wind]
        return observation + np.float32(gust), *rest


class Patience(EarlyStoppingCriterion):
    """Stops in the ninth interval that it is asked for; it cannot be saved."""

    def __init__(self) -> None:
        self.asked = 0

    def __call__(self, stage_steps: int, total_steps: int, training_metrics: ScalarMeanTracker) -> bool:
        self.asked += 1
        return self.asked >= 9

    def __repr__(self) -> str:
        return "Patience()"


def several_cartpoles(num_envs: int) -> gymnasium.vector.VectorEnv[Any, Any, Any]:
    """A native vector environment, without a state that could be saved."""
    return gymnasium.make_vec("CartPole-v1", num_envs=num_envs, vectorization_mode="sync")


def experiment(wind: str = "none", patience: bool = False, vector: bool = False, steps: int = 2048) -> Experiment:
    return Experiment(
        environment=several_cartpoles if vector else Builder(Windy, {"wind": wind}),
        num_envs=4,
        model=Builder(MLPActorCritic, {"hidden_sizes": (16,)}),
        environment_processes=0,
        pipeline=TrainingPipeline(
            named_losses={"ppo": Builder(PPO)},
            pipeline_stages=[
                PipelineStage(
                    loss_names=["ppo"],
                    max_stage_steps=steps,
                    early_stopping_criterion=Patience() if patience else None,
                )
            ],
            optimizer_builder=Builder(torch.optim.Adam, {"lr": 1e-3}),
            num_steps=16,
            num_mini_batch=2,
            update_repeats=2,
            max_grad_norm=0.5,
            gamma=0.99,
            use_gae=True,
            gae_lambda=0.95,
            advance_scene_rollout_period=None,
            save_interval=200,
            metric_accumulate_interval=200,
        ),
    )
