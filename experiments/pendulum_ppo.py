"""Pendulum with PPO: the smallest task with a continuous action. Swing a pendulum up and hold it.

Reaches a mean return of about -180 after 100,000 steps, in half a minute (-1200 is a pendulum that is left alone).
Settings: Stable-Baselines3's zoo (PPO, Pendulum-v1) without its state-dependent exploration, but with rewards that are
normalised and a learning rate that goes down to 0; without these some seeds are still at -300 by then.
"""

import torch

from trainctl import Builder, Experiment, LinearDecay, PipelineStage, TrainingPipeline
from trainctl.losses import PPO
from trainctl.models import MLPActorCritic


def experiment(
    learning_rate: float = 1e-3, num_envs: int = 4, num_steps: int = 1024, steps: int = 100_000
) -> Experiment:
    """gamma=0.9 looks about ten steps ahead, half a second of the pendulum: enough here, and quick to learn."""
    return Experiment(
        environment="Pendulum-v1",
        num_envs=num_envs,
        model=Builder(MLPActorCritic, {"hidden_sizes": (64, 64)}),
        normalize_rewards=True,
        pipeline=TrainingPipeline(
            named_losses={"ppo": Builder(PPO, {"clip_range": 0.2, "entropy_coefficient": 0.0})},
            pipeline_stages=[PipelineStage(loss_names=["ppo"], max_stage_steps=steps)],
            optimizer_builder=Builder(torch.optim.Adam, {"lr": learning_rate, "eps": 1e-5}),
            lr_scheduler_builder=Builder(torch.optim.lr_scheduler.LambdaLR, {"lr_lambda": LinearDecay(steps)}),
            num_steps=num_steps,
            num_mini_batch=32,
            update_repeats=10,
            gamma=0.9,
            use_gae=True,
            gae_lambda=0.95,
            max_grad_norm=0.5,
            grad_norm_type=2,
            advance_scene_rollout_period=None,
            save_interval=50_000,
            metric_accumulate_interval=10_000,
        ),
    )
