"""BabyAI's GoToLocal: imitate the bot, then PPO (needs `pip install trainctl[minigrid]`).

An 8x8 room, eight objects, "go to the red ball". In the first stage the bot of the `minigrid` package takes the actions
at first, and the agent at last; all the time the agent learns what the bot would have done (teacher forcing that fades
out: DAgger, Ross et al. 2011). In the second stage the bot is not asked any more.
"""

from typing import Any

import gymnasium
import minigrid
import torch

from trainctl import Builder, Experiment, LinearDecay, PipelineStage, TrainingPipeline
from trainctl.losses import PPO, Imitation
from trainctl.models import MiniGridActorCritic
from trainctl.wrappers import BabyAIExpert, SuccessMetric, TokenizedMission


def babyai(level: str) -> gymnasium.Env[Any, Any]:
    """A level of BabyAI with the bot as its expert; its mission is numbers, and episodes say whether they succeeded."""
    gymnasium.register_envs(minigrid)
    env = gymnasium.make(f"BabyAI-{level}-v0", disable_env_checker=True)
    return SuccessMetric(TokenizedMission(BabyAIExpert(env)))


def experiment(level: str = "GoToLocal", imitation_steps: int = 100_000, ppo_steps: int = 200_000) -> Experiment:
    """DAgger, then PPO with a clip range that decays to 0."""
    ppo = {"clip_range": 0.2, "clip_decay": LinearDecay(ppo_steps), "entropy_coefficient": 0.01}
    return Experiment(
        environment=Builder(babyai, {"level": level}),
        num_envs=16,
        model=Builder(MiniGridActorCritic, {"memory": "gru", "memory_size": 128, "cell_size": 16}),
        pipeline=TrainingPipeline(
            named_losses={"imitation": Builder(Imitation), "ppo": Builder(PPO, ppo)},
            pipeline_stages=[
                PipelineStage(
                    loss_names=["imitation"],
                    max_stage_steps=imitation_steps,
                    teacher_forcing=LinearDecay(imitation_steps, startp=1.0, endp=0.0),
                    name="dagger",
                ),
                PipelineStage(loss_names=["ppo"], max_stage_steps=ppo_steps, name="ppo"),
            ],
            optimizer_builder=Builder(torch.optim.Adam, {"lr": 1e-3}),
            num_steps=32,
            num_mini_batch=2,
            update_repeats=4,
            gamma=0.99,
            use_gae=True,
            gae_lambda=0.99,
            max_grad_norm=0.5,
            grad_norm_type=2,
            advance_scene_rollout_period=None,
            save_interval=50_000,
            metric_accumulate_interval=10_000,
        ),
    )
