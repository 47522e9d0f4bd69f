"""BabyAI's GoToObj with PPO: an 8x8 room, one object, "go to the red ball" (needs `pip install trainctl[minigrid]`).

The setting of AllenAct's published BabyAI experiments, which take 47 s on two cores: success above 0.95 within 50,176
steps. Success is an episode that ends before its 64 steps are over.
"""

from typing import Any

import gymnasium
import minigrid
import torch

from trainctl import Builder, Experiment, LinearDecay, PipelineStage, TrainingPipeline
from trainctl.losses import PPO
from trainctl.models import MiniGridActorCritic
from trainctl.wrappers import SuccessMetric, TokenizedMission


def babyai(level: str) -> gymnasium.Env[Any, Any]:
    """A level of BabyAI whose mission is numbers, and which says whether an episode succeeded."""
    gymnasium.register_envs(minigrid)
    env = gymnasium.make(f"BabyAI-{level}-v0", disable_env_checker=True)
    return SuccessMetric(TokenizedMission(env))


def experiment(level: str = "GoToObj", learning_rate: float = 1e-3, steps: int = 50_000) -> Experiment:
    """One stage of PPO with a recurrent model; the clip range decays to 0."""
    ppo = {"clip_range": 0.2, "clip_decay": LinearDecay(steps), "entropy_coefficient": 0.01}
    return Experiment(
        environment=Builder(babyai, {"level": level}),
        num_envs=16,
        model=Builder(MiniGridActorCritic, {"memory": "gru", "memory_size": 128, "cell_size": 16}),
        pipeline=TrainingPipeline(
            named_losses={"ppo": Builder(PPO, ppo)},
            pipeline_stages=[PipelineStage(loss_names=["ppo"], max_stage_steps=steps)],
            optimizer_builder=Builder(torch.optim.Adam, {"lr": learning_rate}),
            num_steps=32,
            num_mini_batch=2,
            update_repeats=4,
            gamma=0.99,
            use_gae=True,
            gae_lambda=0.99,
            max_grad_norm=0.5,
            grad_norm_type=2,
            advance_scene_rollout_period=None,
            save_interval=0,
            metric_accumulate_interval=5_000,
        ),
    )
