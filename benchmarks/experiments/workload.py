"""Our side of every workload: an experiment as any user would write it."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from trainctl import Builder, Experiment, PipelineStage, TrainingPipeline
from trainctl.losses import PPO
from trainctl.models import CNNActorCritic, ComposedActorCritic, MLPActorCritic, ValueHead, make_memory, policy_head

sys.path.insert(0, str(Path(__file__).parents[1]))
import workloads


class GridEncoder(nn.Module):
    """Grids (T, B, 7, 7, 3) → features (T, B, 64)."""

    def __init__(self) -> None:
        super().__init__()
        self.trunk = workloads.grid_trunk()

    def forward(self, grids: Tensor) -> Tensor:
        features: Tensor = self.trunk(grids.flatten(0, 1).movedim(-1, 1).float())
        return features.view(*grids.shape[:2], -1)


class GridActorCritic(ComposedActorCritic):
    """A hidden layer of 64 each for policy and value on convolutions that they share."""

    def __init__(self, observation_space: Any, action_space: Any) -> None:
        policy = nn.Sequential(nn.Linear(64, 64), nn.Tanh(), policy_head(64, action_space))
        value = nn.Sequential(nn.Linear(64, 64), nn.Tanh(), ValueHead(64))
        super().__init__(GridEncoder(), make_memory(None, 64, 0), policy, value)


MODELS: dict[str, type[nn.Module]] = {
    "W1": MLPActorCritic,
    "W2": GridActorCritic,
    "W4": MLPActorCritic,
    "W5": CNNActorCritic,
}


def experiment(workload: str = "W1", steps: int = 80_000) -> Experiment:
    """One of the workloads."""
    work = workloads.WORKLOADS[workload]
    loss = {"clip_range": workloads.CLIP_RANGE, "entropy_coefficient": work.entropy_coefficient}
    return Experiment(
        environment=Builder(workloads.make_environment, {"workload": workload}),
        num_envs=work.num_envs,
        model=Builder(MODELS[workload]),
        pipeline=TrainingPipeline(
            named_losses={"ppo": Builder(PPO, loss)},
            pipeline_stages=[PipelineStage(loss_names=["ppo"], max_stage_steps=steps)],
            optimizer_builder=Builder(torch.optim.Adam, {"lr": workloads.LEARNING_RATE, "eps": 1e-5}),
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
