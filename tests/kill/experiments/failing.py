"""Environments, losses and gradients that fail: by chance in each step, or at a step of all that they have taken."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import torch

from trainctl import Builder, Experiment, PipelineStage, TrainingPipeline
from trainctl.losses import PPO, LossOutput
from trainctl.models import MLPActorCritic


class Failing(gymnasium.Wrapper[Any, Any, Any, Any]):
    """CartPole that raises, aborts its process, hangs, or shows NaN. Each failure adds a byte to the file "injected".

    * how: "reset": raises as an episode begins; the others: in a step.
    * probability: of failing each time, drawn from the environment's own generator. at: the step of this object, from
      1, in which it fails; 0: never.
    """

    def __init__(self, how: str, probability: float, at: int) -> None:
        super().__init__(gymnasium.make("CartPole-v1", disable_env_checker=True))
        self.how, self.probability, self.at, self.steps = how, probability, at, 0

    def reset(self, **options: Any) -> Any:
        first = super().reset(**options)
        if self.how == "reset" and self.unwrapped.np_random.random() < self.probability:
            self.fail(None)
        return first

    def step(self, action: Any) -> Any:
        self.steps += 1
        fails = self.how != "reset" and self.unwrapped.np_random.random() < self.probability
        if self.steps == self.at or fails:
            return self.fail(action)
        return super().step(action)

    def fail(self, action: Any) -> Any:
        with Path("injected").open("a") as file:
            file.write("x")
        if self.how in ("raise", "reset"):
            raise ValueError("the robot fell over")
        if self.how == "abort":
            os.abort()
        if self.how == "hang":
            Path("hanging").touch()
            time.sleep(1e9)
        observation, *rest = super().step(action)
        return np.full_like(observation, np.nan), *rest


class FailingLoss:
    """The mean of the values; after so many calls times log(-1), or with a slope of infinity. Without state."""

    def __init__(self, how: str, after_steps: int) -> None:
        self.how, self.after_steps = how, after_steps

    def __call__(self, batch: Any, output: Any) -> LossOutput:
        value = output.values.mean()
        if batch.stage_steps > self.after_steps and self.how == "loss":
            value = value * torch.log(torch.tensor(-1.0))
        if batch.stage_steps > self.after_steps and self.how == "gradient":
            value = value + (output.values - output.values.detach()).abs().sqrt().mean()
        return LossOutput(value, {"mean": value})


def experiment(
    how: str = "raise",
    bad: str = "",
    probability: float = 0.0,
    at: int = 0,
    steps: int = 6_000,
    processes: int = 2,
    timeout: float = 1.0,
) -> Experiment:
    return Experiment(
        environment=Builder(Failing, {"how": how, "probability": probability, "at": at}),
        num_envs=8,
        environment_processes=processes,
        environment_timeout=timeout,
        model=Builder(MLPActorCritic, {"hidden_sizes": (16,)}),
        pipeline=TrainingPipeline(
            named_losses={"ppo": Builder(PPO), "own": Builder(FailingLoss, {"how": bad, "after_steps": 1000})},
            pipeline_stages=[
                PipelineStage(loss_names=["ppo", "own"], loss_weights=[1, 0.1], max_stage_steps=steps, name="fragile")
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
            save_interval=256,
            metric_accumulate_interval=1000,
        ),
    )
