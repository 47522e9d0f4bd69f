"""Acrobot with A2C: swing a two-link arm up by driving only its elbow. Short rollouts, one update for each.

Reaches a mean return of about -83 after 500,000 steps, in a minute or two (-100 counts as solved, -500 is the worst).
Settings: Stable-Baselines3's zoo (A2C, Acrobot-v1).
"""

import torch

from trainctl import Builder, Experiment, PipelineStage, TrainingPipeline
from trainctl.losses import A2C
from trainctl.models import MLPActorCritic


def experiment(
    learning_rate: float = 7e-4, num_envs: int = 16, num_steps: int = 5, entropy: float = 0.0, steps: int = 500_000
) -> Experiment:
    """Each update sees num_envs * num_steps = 80 steps, once."""
    return Experiment(
        environment="Acrobot-v1",
        num_envs=num_envs,
        model=Builder(MLPActorCritic, {"hidden_sizes": (64, 64), "normalize_observations": True}),
        normalize_rewards=True,
        pipeline=TrainingPipeline(
            named_losses={"a2c": Builder(A2C, {"entropy_coefficient": entropy})},
            pipeline_stages=[PipelineStage(loss_names=["a2c"], max_stage_steps=steps)],
            optimizer_builder=Builder(torch.optim.RMSprop, {"lr": learning_rate, "alpha": 0.99, "eps": 1e-5}),
            num_steps=num_steps,
            num_mini_batch=1,
            update_repeats=1,
            gamma=0.99,
            use_gae=True,
            gae_lambda=1.0,
            max_grad_norm=0.5,
            grad_norm_type=2,
            advance_scene_rollout_period=None,
            save_interval=100_000,
            metric_accumulate_interval=10_000,
        ),
    )
