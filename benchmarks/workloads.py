"""What is measured: the same environments, network sizes and settings of PPO for everybody. Knows no library of PPO."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

LEARNING_RATE, GAMMA, GAE_LAMBDA, CLIP_RANGE, VALUE_COEFFICIENT, MAX_GRAD_NORM = 2.5e-4, 0.99, 0.95, 0.2, 0.5, 0.5


@dataclass(frozen=True)
class Workload:
    """steps: how long a measurement lasts; the first `warm` rollouts of it do not count."""

    title: str
    num_envs: int
    num_steps: int
    epochs: int
    minibatches: int
    entropy_coefficient: float
    steps: int
    warm: int = 3

    @property
    def rollout(self) -> int:
        return self.num_envs * self.num_steps


WORKLOADS = {
    "W1": Workload("CartPole, MLP", 8, 128, 4, 4, 0.01, 80_000, warm=10),
    "W2": Workload("MiniGrid DoorKey, CNN", 16, 128, 4, 8, 0.01, 26_000),
    "W4": Workload("HalfCheetah, MLP", 8, 256, 10, 32, 0.0, 20_000),
    "W5": Workload("Pong, Nature CNN", 8, 128, 4, 4, 0.01, 6_144, warm=1),
}


def make_environment(workload: str) -> Any:
    """One environment, with the wrappers that everybody gets."""
    import gymnasium

    if workload == "W1":
        return gymnasium.make("CartPole-v1")
    if workload == "W2":
        import minigrid  # noqa: F401  registers the environments
        from minigrid.wrappers import ImgObsWrapper

        return ImgObsWrapper(gymnasium.make("MiniGrid-DoorKey-5x5-v0"))
    if workload == "W4":
        return gymnasium.make("HalfCheetah-v5")
    import ale_py

    gymnasium.register_envs(ale_py)
    env = gymnasium.make("ALE/Pong-v5", frameskip=1, repeat_action_probability=0.0)
    env = gymnasium.wrappers.AtariPreprocessing(env, noop_max=30, frame_skip=4, screen_size=84)
    return gymnasium.wrappers.FrameStackObservation(env, 4)


def grid_trunk() -> Any:
    """The convolutions of W2: 3 × 7 × 7 → 64 features."""
    from torch import nn

    layers = [nn.Conv2d(3, 16, 2), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(16, 32, 2), nn.ReLU(), nn.Conv2d(32, 64, 2)]
    return nn.Sequential(*layers, nn.ReLU(), nn.Flatten())
