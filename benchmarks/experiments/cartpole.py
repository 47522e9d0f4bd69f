"""experiments/cartpole_ppo.py with environments in processes of their own."""

from __future__ import annotations

import torch

from trainctl import Builder, Experiment, LinearDecay, PipelineStage, TrainingPipeline
from trainctl.losses import PPO
from trainctl.models import MLPActorCritic


def experiment(steps: int = 200_000, processes: int = 0) -> Experiment:
    return Experiment(
        environment="CartPole-v1",
        num_envs=8,
        environment_processes=processes,
        model=Builder(MLPActorCritic, {"hidden_sizes": (64, 64)}),
        pipeline=TrainingPipeline(
            named_losses={"ppo": Builder(PPO, {"clip_range": 0.2, "entropy_coefficient": 0.0})},
            pipeline_stages=[PipelineStage(loss_names=["ppo"], max_stage_steps=steps)],
            optimizer_builder=Builder(torch.optim.Adam, {"lr": 1e-3, "eps": 1e-5}),
            lr_scheduler_builder=Builder(torch.optim.lr_scheduler.LambdaLR, {"lr_lambda": LinearDecay(steps)}),
            num_steps=128,
            num_mini_batch=4,
            update_repeats=4,
            gamma=0.98,
            use_gae=True,
            gae_lambda=0.9,
            max_grad_norm=0.5,
            grad_norm_type=2,
            advance_scene_rollout_period=None,
            save_interval=None,
            metric_accumulate_interval=5_000,
        ),
    )
