"""Two stages of CartPole that are over at once: rollouts of 32 steps, two in each stage."""

import os
import subprocess
import time

import gymnasium
import torch

from trainctl import Builder, Experiment, LinearDecay, PipelineStage, StopWhenMetricReaches, TrainingPipeline
from trainctl.losses import PPO, Imitation
from trainctl.models import MLPActorCritic


class Balancing(gymnasium.Wrapper):
    """An expert that leans against the fall; knows nothing far from the middle."""

    def __init__(self, prints: bool, pause: float) -> None:
        super().__init__(gymnasium.make("CartPole-v1"))
        self.prints, self.pause, self.steps = prints, pause, 0

    def expert_action(self) -> int | None:
        position, _, angle, falling = self.unwrapped.state
        return int(angle + falling > 0) if abs(position) < 1 else None

    def step(self, action):
        self.steps += 1
        time.sleep(self.pause)
        if self.prints and self.steps == 3:
            print("printed by the user")
            os.write(1, b"written past Python\n")
            subprocess.run(["echo", "said by a child"], check=True)
        return super().step(action)


class Fragile(Imitation):
    """Cannot be computed from so many steps on; 0: always can."""

    def __init__(self, breaks_at: int) -> None:
        self.breaks_at = breaks_at

    def __call__(self, batch, output):
        if self.breaks_at and batch.stage_steps >= self.breaks_at:
            raise ValueError("the teacher went home")
        return super().__call__(batch, output)


def experiment(
    steps: int = 64,
    last_steps: int = 64,
    learning_rate: float = 1e-3,
    save_interval: int | None = 32,
    prints: bool = False,
    pause: float = 0.0,
    breaks_at: int = 0,
) -> Experiment:
    return Experiment(
        environment=Builder(Balancing, {"prints": prints, "pause": pause}),
        num_envs=2,
        model=Builder(MLPActorCritic, {"hidden_sizes": (8,)}),
        pipeline=TrainingPipeline(
            named_losses={
                "imitation": Builder(Fragile, {"breaks_at": breaks_at}),
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
            optimizer_builder=Builder(torch.optim.Adam, {"lr": learning_rate}),
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
