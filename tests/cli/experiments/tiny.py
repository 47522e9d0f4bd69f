"""Two stages of CartPole that are over at once: rollouts of 32 steps, two in each stage."""

import os
import subprocess

import gymnasium
import torch

from trainctl import Builder, Experiment, LinearDecay, PipelineStage, StopWhenMetricReaches, TrainingPipeline
from trainctl.losses import PPO, Imitation
from trainctl.models import MLPActorCritic


class Balancing(gymnasium.Wrapper):
    """An expert that leans against the fall; knows nothing far from the middle."""

    def __init__(self, prints: bool, falls_at: int) -> None:
        super().__init__(gymnasium.make("CartPole-v1"))
        self.prints, self.falls_at, self.steps = prints, falls_at, 0

    def expert_action(self) -> int | None:
        position, _, angle, falling = self.unwrapped.state
        return int(angle + falling > 0) if abs(position) < 1 else None

    def step(self, action):
        self.steps += 1
        if self.prints and self.steps == 3:
            print("printed by the user")
            os.write(1, b"written past Python\n")
            subprocess.run(["echo", "said by a child"], check=True)
        if self.steps == self.falls_at:
            raise ValueError("the robot fell over")
        return super().step(action)


def experiment(
    steps: int = 64, prints: bool = False, falls_at: int = 0, save_interval: int | None = 32, last_steps: int = 64
) -> Experiment:
    return Experiment(
        environment=Builder(Balancing, {"prints": prints, "falls_at": falls_at}),
        num_envs=2,
        model=Builder(MLPActorCritic, {"hidden_sizes": (8,)}),
        pipeline=TrainingPipeline(
            named_losses={
                "imitation": Builder(Imitation),
                "ppo": Builder(PPO, {"clip_range": 0.1, "clip_decay": LinearDecay(steps=128)}),
            },
            pipeline_stages=[
                PipelineStage(
                    name="warm up",
                    loss_names=["imitation"],
                    max_stage_steps=steps,
                    teacher_forcing=LinearDecay(steps=steps),
                    num_mini_batch=1,
                ),
                PipelineStage(
                    loss_names=["ppo", "imitation"],
                    loss_weights=[1, 0.5],
                    max_stage_steps=last_steps,
                    early_stopping_criterion=StopWhenMetricReaches("return", 10_000),
                    gamma=0.9,
                ),
            ],
            optimizer_builder=Builder(torch.optim.Adam, {"lr": 1e-3}),
            lr_scheduler_builder=Builder(
                torch.optim.lr_scheduler.LambdaLR, {"lr_lambda": LinearDecay(steps=128, startp=1.0, endp=0.5)}
            ),
            num_mini_batch=2,
            update_repeats=1,
            max_grad_norm=0.5,
            num_steps=16,
            gamma=0.99,
            use_gae=True,
            gae_lambda=0.95,
            advance_scene_rollout_period=None,
            save_interval=save_interval,
            metric_accumulate_interval=32,
        ),
    )
