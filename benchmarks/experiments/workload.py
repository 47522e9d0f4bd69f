"""Our side of the workloads: an experiment as any user would write it."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from trainctl import Builder, Experiment, PipelineStage, TrainingPipeline
from trainctl.losses import PPO
from trainctl.models import (
    CNNActorCritic,
    ComposedActorCritic,
    EncoderActorCritic,
    MLPActorCritic,
    ValueHead,
    make_memory,
    policy_head,
)

sys.path.insert(0, str(Path(__file__).parents[1]))
import networks
import workloads


class Encoder(nn.Module):
    """A trunk for (B, …) as an encoder of observations (T, B, …)."""

    repeats_itself = True

    def __init__(self, trunk: nn.Module) -> None:
        super().__init__()
        self.trunk = trunk

    def forward(self, observations: Tensor) -> Tensor:
        features: Tensor = self.trunk(observations.flatten(0, 1))
        return features.view(*observations.shape[:2], -1)


class GridActorCritic(ComposedActorCritic):
    """Convolutions, a GRU of this size or none, and a hidden layer of 64 each for policy and value."""

    repeats_itself = True

    def __init__(self, observation_space: Any, action_space: Any, memory_size: int) -> None:
        memory = make_memory("gru" if memory_size else None, networks.GridTrunk.size, memory_size)
        policy = nn.Sequential(nn.Linear(memory.output_size, 64), nn.Tanh(), policy_head(64, action_space))
        value = nn.Sequential(nn.Linear(memory.output_size, 64), nn.Tanh(), ValueHead(64))
        super().__init__(Encoder(networks.GridTrunk()), memory, policy, value)


class FeaturesActorCritic(EncoderActorCritic):
    """A trunk, a GRU of this size or none, linear policy and value."""

    repeats_itself = True

    def __init__(self, observation_space: Any, action_space: Any, trunk: Any, memory_size: int) -> None:
        super().__init__(Encoder(trunk()), trunk.size, action_space, "gru" if memory_size else None, memory_size)


def model_of(work: workloads.Workload) -> Builder[nn.Module]:
    """Called with the two spaces."""
    if work.network == "grid":
        return Builder(GridActorCritic, {"memory_size": work.memory})
    if work.network in ("cells", "residual"):
        trunk = {"cells": networks.CellEmbeddings, "residual": networks.ResidualTrunk}[work.network]
        return Builder(FeaturesActorCritic, {"trunk": trunk, "memory_size": work.memory})
    return Builder(CNNActorCritic if work.network == "nature" else MLPActorCritic)


def experiment(workload: str = "W1", steps: int = 80_000) -> Experiment:
    """One of the workloads."""
    work = workloads.WORKLOADS[workload]
    loss = {"clip_range": work.clip_range, "entropy_coefficient": work.entropy_coefficient}
    return Experiment(
        environment=Builder(workloads.make_environment, {"name": work.environment}),
        num_envs=work.num_envs,
        model=model_of(work),
        pipeline=TrainingPipeline(
            named_losses={"ppo": Builder(PPO, loss)},
            pipeline_stages=[PipelineStage(loss_names=["ppo"], max_stage_steps=steps)],
            optimizer_builder=Builder(torch.optim.Adam, {"lr": work.learning_rate, "eps": 1e-5}),
            num_steps=work.num_steps,
            num_mini_batch=work.minibatches,
            update_repeats=work.epochs,
            gamma=workloads.GAMMA,
            use_gae=True,
            gae_lambda=workloads.GAE_LAMBDA,
            max_grad_norm=workloads.MAX_GRAD_NORM,
            grad_norm_type=2,
            advance_scene_rollout_period=None,
            save_interval=0,
            metric_accumulate_interval=work.rollout,
        ),
    )
