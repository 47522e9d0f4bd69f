"""The floor of a workload: microseconds per step of the environments alone, and of the network's arithmetic alone.

usage: floor.py WORKLOAD; prints {"environment", "network"} as JSON. The network is measured as PyTorch runs it: policy
for every vector step, forward and backward for every minibatch, nothing else (no loss, no optimizer). Environments take
random actions in one process; half of W7's steps ask the expert and do what it says.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent / "experiments"))

import torch
import workload as ours
import workloads
from torch import Tensor, nn

from trainctl.core.engine.environments.spaces import observation_layout
from trainctl.core.tree import map_tree
from trainctl.models import MiniGridActorCritic

EXPERT = ("W7",)
STEPS = 256


def seconds(call: Callable[[], object], repeats: int) -> float:
    """The median duration of a call."""
    times = []
    for _ in range(repeats):
        started = time.perf_counter()
        call()
        times.append(time.perf_counter() - started)
    return sorted(times)[repeats // 2]


def model_of(name: str, env: Any) -> nn.Module:
    """The network that is trained; W7's is that of its experiment."""
    work = workloads.WORKLOADS[name]
    if work.network == "minigrid":
        memory = {"memory": "gru", "memory_size": work.memory}
        return MiniGridActorCritic(env.observation_space, env.action_space, **memory, cell_size=16)
    return ours.model_of(work)(observation_space=env.observation_space, action_space=env.action_space)


def play(env: Any, expert: bool) -> None:
    """So many steps, with a reset wherever an episode ends."""
    for _ in range(STEPS):
        advice = env.get_wrapper_attr("expert_action")() if expert else None
        _, _, terminated, truncated, _ = env.step(env.action_space.sample() if advice is None else advice)
        if terminated or truncated:
            env.reset()


def observations(env: Any, *shape: int) -> Any:
    """As many copies of an observation, numbers where it has none of its own kind."""
    first, _ = env.reset(seed=0)

    def copies(part: Any, layout: Any) -> Tensor:
        one = torch.as_tensor(part)
        return (one.float() if one.is_floating_point() else one).expand(*shape, *layout.shape).contiguous()

    return map_tree(copies, first, observation_layout(env.observation_space))


def network_seconds(name: str, env: Any) -> float:
    """Of a step."""
    work, model = workloads.WORKLOADS[name], model_of(name, env)
    shape = (work.num_steps, work.num_envs // work.minibatches) if work.memory else (1, work.minibatch)
    learning, acting = observations(env, *shape), observations(env, 1, work.num_envs)
    before = [model.initial_memory(size) for size in (shape[1], work.num_envs)]

    def learn() -> None:
        distribution, values, _ = model(learning, before[0], torch.ones(shape))
        outputs = distribution.logits if hasattr(distribution, "logits") else distribution.mean
        (outputs.sum() + values.sum()).backward()

    def act() -> None:
        with torch.inference_mode():
            model.policy(acting, before[1], torch.ones(1, work.num_envs))

    learned = seconds(learn, 30) * work.epochs * work.minibatches / work.rollout
    return learned + seconds(act, 200) / work.num_envs


def main(name: str) -> None:
    work = workloads.WORKLOADS[name]
    torch.set_num_threads(work.threads)
    env = workloads.make_environment(work.environment)
    env.action_space.seed(0)
    env.reset(seed=0)
    environment = [
        seconds(lambda asks=asks: play(env, asks), 10) for asks in ((False, True) if name in EXPERT else (False,))
    ]
    parts = {"environment": sum(environment) / len(environment) / STEPS, "network": network_seconds(name, env)}
    print(json.dumps({part: 1e6 * value for part, value in parts.items()}))


if __name__ == "__main__":
    main(sys.argv[1])
