"""The floor of a workload: microseconds per step of the environments alone, and of the network's arithmetic alone.

usage: floor.py WORKLOAD; prints {"environment", "network"} as JSON. The network is measured as PyTorch runs it: policy
for every vector step, forward and backward for every minibatch, nothing else (no loss, no optimizer).
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent / "experiments"))

import torch
import workload as ours
import workloads


def seconds(call: Callable[[], object], repeats: int) -> float:
    """The median duration of a call."""
    times = []
    for _ in range(repeats):
        started = time.perf_counter()
        call()
        times.append(time.perf_counter() - started)
    return sorted(times)[repeats // 2]


def main(name: str) -> None:
    torch.set_num_threads(1)
    work = workloads.WORKLOADS[name]
    env = workloads.make_environment(name)
    env.reset(seed=0)
    env.action_space.seed(0)
    actions = [env.action_space.sample() for _ in range(256)]

    def steps() -> None:
        for action in actions:
            _, _, terminated, truncated, _ = env.step(action)
            if terminated or truncated:
                env.reset()

    model = ours.MODELS[name](env.observation_space, env.action_space)

    def seen(count: int) -> torch.Tensor:
        one = torch.as_tensor(env.observation_space.sample())
        return (one if one.dtype == torch.uint8 else torch.rand(one.shape)).expand(1, count, *one.shape).contiguous()

    acting, learning = seen(work.num_envs), seen(work.rollout // work.minibatches)

    def learn() -> None:
        distribution, values, _ = model(learning, None, torch.ones(learning.shape[:2]))
        (getattr(distribution, "logits", None) if hasattr(distribution, "logits") else distribution.mean).sum().add(
            values.sum()
        ).backward()

    def act() -> None:
        with torch.inference_mode():
            model.policy(acting, None, torch.ones(acting.shape[:2]))

    learned = seconds(learn, 50) * work.epochs * work.minibatches / work.rollout
    acted = seconds(act, 200) / work.num_envs
    environment = seconds(steps, 10) / len(actions)
    print(json.dumps({"environment": environment * 1e6, "network": (learned + acted) * 1e6}))


if __name__ == "__main__":
    main(sys.argv[1])
