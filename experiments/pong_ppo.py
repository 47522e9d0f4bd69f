"""Pong from pixels with PPO (Atari; needs `pip install trainctl[atari]`).

Four grey frames of 84 × 84 go through the convolutions of Mnih et al. 2015. The settings are those of Schulman et al.
2017 for Atari as in CleanRL's `ppo_atari.py`, which reports a mean return of 20.4 (21 is perfect) after 10M steps.
"""

from typing import Any

import ale_py
import gymnasium
import torch
from gymnasium.wrappers import AtariPreprocessing, FrameStackObservation

from trainctl import Builder, Experiment, LinearDecay, PipelineStage, TrainingPipeline
from trainctl.losses import PPO
from trainctl.models import CNNActorCritic


def atari(game: str) -> gymnasium.Env[Any, Any]:
    """A game as in Mnih et al. 2015: up to 30 idle frames at first, four frames to an action, the last four shown."""
    gymnasium.register_envs(ale_py)
    env = gymnasium.make(f"ALE/{game}-v5", frameskip=1, repeat_action_probability=0.0, disable_env_checker=True)
    return FrameStackObservation(AtariPreprocessing(env, noop_max=30, frame_skip=4, screen_size=84), stack_size=4)


def experiment(
    game: str = "Pong", learning_rate: float = 2.5e-4, num_envs: int = 8, num_steps: int = 128, steps: int = 10_000_000
) -> Experiment:
    """The learning rate goes down to 0 over `steps`, which count actions (four frames each)."""
    return Experiment(
        environment=Builder(atari, {"game": game}),
        num_envs=num_envs,
        model=Builder(CNNActorCritic),
        pipeline=TrainingPipeline(
            named_losses={"ppo": Builder(PPO, {"clip_range": 0.1, "entropy_coefficient": 0.01})},
            pipeline_stages=[PipelineStage(loss_names=["ppo"], max_stage_steps=steps)],
            optimizer_builder=Builder(torch.optim.Adam, {"lr": learning_rate, "eps": 1e-5}),
            lr_scheduler_builder=Builder(torch.optim.lr_scheduler.LambdaLR, {"lr_lambda": LinearDecay(steps)}),
            num_steps=num_steps,
            num_mini_batch=4,
            update_repeats=4,
            gamma=0.99,
            use_gae=True,
            gae_lambda=0.95,
            max_grad_norm=0.5,
            grad_norm_type=2,
            advance_scene_rollout_period=None,
            save_interval=500_000,
            metric_accumulate_interval=20_000,
        ),
    )
