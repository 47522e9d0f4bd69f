"""CleanRL's PPO, its scripts `ppo` and `ppo_atari` as they are, in the environments that everybody gets.

usage: cleanrl.py WORKLOAD STEPS SEED [DEVICE]; prints {"steps", "seconds"} of its steady state as JSON. The scripts
speak to a gym of 2022: what stands here under that name gives them gymnasium's vector environments, Pong in processes.
"""

from __future__ import annotations

import contextlib
import json
import runpy
import sys
import tempfile
import time
import types
from functools import partial
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

import gymnasium
import workloads

HERE = Path(__file__).resolve().parent
SCRIPTS = {"mlp": "cleanrl.ppo", "nature": "cleanrl.ppo_atari"}


class OldVectorEnv:
    """A vector environment as gym 0.23 had them, without infos; notes when each rollout began."""

    def __init__(self, work: workloads.Workload) -> None:
        makers = [partial(workloads.make_environment, work.environment)] * work.num_envs
        in_processes = work.environment != "cartpole"
        kind = gymnasium.vector.AsyncVectorEnv if in_processes else gymnasium.vector.SyncVectorEnv
        self.envs, self.work, self.calls = kind(makers), work, 0
        self.marks: list[tuple[float, int]] = []
        self.single_observation_space = self.envs.single_observation_space
        self.single_action_space = self.envs.single_action_space

    def reset(self):
        return self.envs.reset()[0]

    def step(self, actions):
        if self.calls % self.work.num_steps == 0:
            self.marks.append((time.perf_counter(), self.calls * self.work.num_envs))
        self.calls += 1
        observations, rewards, terminated, truncated, _ = self.envs.step(actions)
        return observations, rewards, terminated | truncated, []

    def close(self) -> None:
        self.envs.close()


def main(name: str, steps: int, seed: int, device: str = "cpu") -> None:
    sys.path = [folder for folder in sys.path if Path(folder).resolve() != HERE]  # this file is no package cleanrl
    work = workloads.WORKLOADS[name]
    envs = OldVectorEnv(work)
    old_gym = types.ModuleType("gym")
    old_gym.spaces, old_gym.vector = gymnasium.spaces, types.SimpleNamespace(SyncVectorEnv=lambda makers: envs)
    sys.modules["gym"] = old_gym
    options = {
        "seed": seed, "total-timesteps": steps, "cuda": device != "cpu", "num-envs": work.num_envs,
        "num-steps": work.num_steps, "num-minibatches": work.minibatches, "update-epochs": work.epochs,
        "learning-rate": work.learning_rate, "clip-coef": work.clip_range, "ent-coef": work.entropy_coefficient,
        "vf-coef": workloads.VALUE_COEFFICIENT, "max-grad-norm": workloads.MAX_GRAD_NORM, "gamma": workloads.GAMMA,
        "gae-lambda": workloads.GAE_LAMBDA, "torch-deterministic": False,
    }  # fmt: skip
    sys.argv = ["cleanrl", *(f"--{option}={value}" for option, value in options.items())]
    with tempfile.TemporaryDirectory() as folder, contextlib.chdir(folder), contextlib.redirect_stdout(sys.stderr):
        runpy.run_module(SCRIPTS[work.network], run_name="__main__")
    (first, before), (last, after) = envs.marks[work.warm], envs.marks[-1]
    print(json.dumps({"steps": after - before, "seconds": last - first}))


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), *sys.argv[4:])
