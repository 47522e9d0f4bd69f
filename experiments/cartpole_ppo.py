"""CartPole with PPO: the first experiment. Balance a pole on a cart.

Reaches the highest mean return there is, 500, within 200,000 steps (475 counts as solved), in a quarter of a minute.
"""

import torch

from trainctl import Builder, Experiment, LinearDecay, PipelineStage, TrainingPipeline
from trainctl.losses import PPO
from trainctl.models import MLPActorCritic


def experiment(learning_rate: float = 1e-3, num_envs: int = 8, steps: int = 200_000) -> Experiment:
    """The learning rate goes down to 0 over `steps`; each rollout has num_envs * 128 steps."""
    return Experiment(
        environment="CartPole-v1",
        num_envs=num_envs,
        model=Builder(MLPActorCritic, {"hidden_sizes": (64, 64)}),
        pipeline=TrainingPipeline(
            named_losses={"ppo": Builder(PPO, {"clip_range": 0.2, "entropy_coefficient": 0.0})},
            pipeline_stages=[PipelineStage(loss_names=["ppo"], max_stage_steps=steps)],
            optimizer_builder=Builder(torch.optim.Adam, {"lr": learning_rate, "eps": 1e-5}),
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
            save_interval=50_000,
            metric_accumulate_interval=10_000,
        ),
    )
