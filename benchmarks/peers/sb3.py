"""Stable-Baselines3's PPO on a workload: prints {"steps", "seconds"} of its steady state as JSON.

usage: sb3.py WORKLOAD STEPS SEED; one thread and DummyVecEnv are its fastest setting on two cores.
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

import torch
import workloads
from stable_baselines3 import PPO
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.monitor import Monitor
from stable_baselines3.common.torch_layers import BaseFeaturesExtractor
from stable_baselines3.common.vec_env import DummyVecEnv


class GridCNN(BaseFeaturesExtractor):
    def __init__(self, space) -> None:
        super().__init__(space, 64)
        self.trunk = workloads.grid_trunk()

    def forward(self, grids: torch.Tensor) -> torch.Tensor:
        return self.trunk(grids.permute(0, 3, 1, 2) if grids.shape[-1] == 3 else grids)


class Marks(BaseCallback):
    """When each rollout began."""

    def __init__(self) -> None:
        super().__init__()
        self.marks: list[tuple[float, int]] = []

    def _on_rollout_start(self) -> None:
        self.marks.append((time.perf_counter(), self.num_timesteps))

    def _on_step(self) -> bool:
        return True


def main(name: str, steps: int, seed: int) -> None:
    work = workloads.WORKLOADS[name]
    env = DummyVecEnv([lambda: Monitor(workloads.make_environment(name))] * work.num_envs)
    grid = {"features_extractor_class": GridCNN, "normalize_images": False, "net_arch": {"pi": [64], "vf": [64]}}
    model = PPO(
        "MlpPolicy" if name in ("W1", "W4") else "CnnPolicy",
        env,
        policy_kwargs=grid if name == "W2" else {},
        n_steps=work.num_steps,
        batch_size=work.rollout // work.minibatches,
        n_epochs=work.epochs,
        learning_rate=workloads.LEARNING_RATE,
        gamma=workloads.GAMMA,
        gae_lambda=workloads.GAE_LAMBDA,
        clip_range=workloads.CLIP_RANGE,
        ent_coef=work.entropy_coefficient,
        vf_coef=workloads.VALUE_COEFFICIENT,
        max_grad_norm=workloads.MAX_GRAD_NORM,
        seed=seed,
        device="cpu",
    )
    torch.set_num_threads(1)
    watch = Marks()
    model.learn(steps, callback=watch)
    (first, before), (last, after) = watch.marks[work.warm], watch.marks[-1]
    print(json.dumps({"steps": after - before, "seconds": last - first}))


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]))
