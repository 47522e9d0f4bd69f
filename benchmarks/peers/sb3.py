"""Stable-Baselines3's PPO, or sb3-contrib's RecurrentPPO where a workload has memory (an LSTM: it has no GRU).

usage: sb3.py WORKLOAD STEPS SEED [DEVICE]; prints {"steps", "seconds"} of its steady state as JSON. DummyVecEnv is its
fastest setting on two cores.
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

import networks
import torch
import workloads
from sb3_contrib import RecurrentPPO
from stable_baselines3 import PPO
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.monitor import Monitor
from stable_baselines3.common.torch_layers import BaseFeaturesExtractor
from stable_baselines3.common.vec_env import DummyVecEnv, SubprocVecEnv


class Trunk(BaseFeaturesExtractor):
    def __init__(self, space, trunk) -> None:
        super().__init__(space, trunk.size)
        self.trunk = trunk()

    def forward(self, observations: torch.Tensor) -> torch.Tensor:
        return self.trunk(observations)


class Marks(BaseCallback):
    """When each rollout began."""

    def __init__(self) -> None:
        super().__init__()
        self.marks: list[tuple[float, int]] = []

    def _on_rollout_start(self) -> None:
        self.marks.append((time.perf_counter(), self.num_timesteps))

    def _on_step(self) -> bool:
        return True


TRUNKS = {"grid": networks.GridTrunk, "cells": networks.CellEmbeddings, "residual": networks.ResidualTrunk}


def policy_of(work: workloads.Workload) -> tuple[str, dict]:
    """The name of the policy's class, and its arguments."""
    arguments = {}
    if work.network in TRUNKS:
        arguments = {
            "features_extractor_class": Trunk,
            "features_extractor_kwargs": {"trunk": TRUNKS[work.network]},
            "net_arch": {"pi": [64], "vf": [64]} if work.network == "grid" else [],
            "normalize_images": work.network == "residual",
        }
    if work.memory:
        memory = {"lstm_hidden_size": work.memory, "shared_lstm": True, "enable_critic_lstm": False}
        return "CnnLstmPolicy", {**arguments, **memory}
    return "MlpPolicy" if work.network == "mlp" else "CnnPolicy", arguments


def main(name: str, steps: int, seed: int, device: str = "cpu") -> None:
    work = workloads.WORKLOADS[name]
    makers = [lambda: Monitor(workloads.make_environment(work.environment))] * work.num_envs
    in_processes = device != "cpu" and work.environment != "cartpole"  # many cores, expensive environments
    env = SubprocVecEnv(makers, start_method="fork") if in_processes else DummyVecEnv(makers)
    policy, arguments = policy_of(work)
    model = (RecurrentPPO if work.memory else PPO)(
        policy,
        env,
        policy_kwargs=arguments,
        n_steps=work.num_steps,
        batch_size=work.minibatch,
        n_epochs=work.epochs,
        learning_rate=work.learning_rate,
        gamma=workloads.GAMMA,
        gae_lambda=workloads.GAE_LAMBDA,
        clip_range=work.clip_range,
        ent_coef=work.entropy_coefficient,
        vf_coef=workloads.VALUE_COEFFICIENT,
        max_grad_norm=workloads.MAX_GRAD_NORM,
        seed=seed,
        device=device,
    )
    torch.set_num_threads(work.threads)
    watch = Marks()
    model.learn(steps, callback=watch)
    (first, before), (last, after) = watch.marks[work.warm], watch.marks[-1]
    print(json.dumps({"steps": after - before, "seconds": last - first}))
    env.close()


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), *sys.argv[4:])
