"""HalfCheetah with PPO: a two-legged robot learns to run (MuJoCo; needs `pip install trainctl[mujoco]`).

Reaches a mean return of about 6,000 after 1,000,000 steps (5,700 to 6,500 with four seeds; AllenAct publishes 1,741 for
its PPO).

Observations and rewards are normalised by running statistics. Settings: CleanRL's `ppo_continuous_action.py` (Huang et
al. 2022, "The 37 implementation details of PPO"), but 64 environments with short rollouts, larger minibatches, and
actions that vary less at first: with a standard deviation of 1 some seeds never get beyond a return of 1,500.
"""

import torch

from trainctl import Builder, Experiment, LinearDecay, PipelineStage, TrainingPipeline
from trainctl.losses import PPO
from trainctl.models import MLPActorCritic


def experiment(
    learning_rate: float = 7e-4,
    num_envs: int = 64,
    num_steps: int = 32,
    num_mini_batch: int = 8,
    update_repeats: int = 10,
    initial_std: float = 0.4,
    steps: int = 1_000_000,
) -> Experiment:
    """The learning rate goes down to 0 over `steps`; each rollout has num_envs * num_steps steps."""
    model = {"hidden_sizes": (64, 64), "normalize_observations": True, "initial_std": initial_std}
    return Experiment(
        environment="HalfCheetah-v5",
        num_envs=num_envs,
        model=Builder(MLPActorCritic, model),
        normalize_rewards=True,
        pipeline=TrainingPipeline(
            named_losses={"ppo": Builder(PPO, {"clip_range": 0.2, "entropy_coefficient": 0.0})},
            pipeline_stages=[PipelineStage(loss_names=["ppo"], max_stage_steps=steps)],
            optimizer_builder=Builder(torch.optim.Adam, {"lr": learning_rate, "eps": 1e-5}),
            lr_scheduler_builder=Builder(torch.optim.lr_scheduler.LambdaLR, {"lr_lambda": LinearDecay(steps)}),
            num_steps=num_steps,
            num_mini_batch=num_mini_batch,
            update_repeats=update_repeats,
            gamma=0.99,
            use_gae=True,
            gae_lambda=0.95,
            max_grad_norm=0.5,
            grad_norm_type=2,
            advance_scene_rollout_period=None,
            save_interval=100_000,
            metric_accumulate_interval=20_000,
        ),
    )
