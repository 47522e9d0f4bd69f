"""For growth.py: a task in any number of environments and environment processes."""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import torch
from torch import Tensor, nn

from trainctl import Builder, Experiment, PipelineStage, TrainingPipeline
from trainctl.losses import PPO
from trainctl.models import CNNActorCritic, EncoderActorCritic

sys.path.insert(0, str(Path(__file__).parents[1]))
import workload as ours
import workloads


class Noise(gymnasium.Env[Any, Any]):
    """Pictures as large as those of an Atari game, at no cost; an episode lasts 100 steps."""

    observation_space = gymnasium.spaces.Box(0, 255, (4, 84, 84), np.uint8)
    action_space = gymnasium.spaces.Discrete(2)

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        super().reset(seed=seed)
        self.pictures = self.np_random.integers(0, 255, (5, *self.observation_space.shape), np.uint8)
        self.taken = 0
        return self.pictures[0], {}

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        self.taken += 1
        return self.pictures[self.taken % 5], float(action), self.taken == 100, False, {}


class Simulator(Noise):
    """The same pictures, so many milliseconds after the action: somebody else computes them."""

    def __init__(self, milliseconds: float) -> None:
        self.seconds = milliseconds / 1000

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        time.sleep(self.seconds)
        return super().step(action)


class Glance(nn.Module):
    """Pictures (T, B, 4, 84, 84) → features (T, B, 144): means of their parts, so that the network costs nothing."""

    def forward(self, pictures: Tensor) -> Tensor:
        return nn.functional.avg_pool2d(pictures.flatten(0, 1).float(), 14).flatten(1).view(*pictures.shape[:2], -1)


class GlancingActorCritic(EncoderActorCritic):
    """Linear policy and value on a glance."""

    def __init__(self, observation_space: Any, action_space: Any) -> None:
        super().__init__(Glance(), 144, action_space)


TASKS = {"cartpole": "W1", "doorkey": "W2"}


def own_of(workload: workloads.Workload) -> tuple[Any, Any]:
    """The environment and the model of a workload."""
    return Builder(workloads.make_environment, {"name": workload.environment}), ours.model_of(workload)


def experiment(
    task: str = "cartpole",
    num_envs: int = 8,
    processes: int = 0,
    num_steps: int = 128,
    steps: int = 100_000,
    interval: int = 1,
    groups: int = 1,
    milliseconds: float = 0.0,
) -> Experiment:
    """cartpole, doorkey (as in W1 and W2), noise, or simulator. Minibatches have 256 steps whatever the rollout's size.

    interval: steps between two closings of the metrics, at least a rollout. milliseconds: that a simulator takes.
    """
    known = task in TASKS
    environment, model = {
        "noise": (Builder(Noise), Builder(GlancingActorCritic)),
        "simulator": (Builder(Simulator, {"milliseconds": milliseconds}), Builder(CNNActorCritic)),
        **{name: own_of(workloads.WORKLOADS[workload]) for name, workload in TASKS.items()},
    }[task]
    return Experiment(
        environment=environment,
        num_envs=num_envs,
        environment_processes=processes,
        environment_groups=groups,
        model=model,
        pipeline=TrainingPipeline(
            named_losses={"ppo": Builder(PPO)},
            pipeline_stages=[PipelineStage(loss_names=["ppo"], max_stage_steps=steps)],
            optimizer_builder=Builder(torch.optim.Adam, {"lr": 2.5e-4, "eps": 1e-5}),
            num_steps=num_steps,
            num_mini_batch=max(1, num_envs * num_steps // 256),
            update_repeats=4 if known else 1,
            gamma=0.99,
            use_gae=True,
            gae_lambda=0.95,
            max_grad_norm=0.5,
            grad_norm_type=2,
            advance_scene_rollout_period=None,
            save_interval=0,
            metric_accumulate_interval=interval,
        ),
    )
