"""What is measured: the same environments, network sizes and settings of PPO for everybody. Knows no library of PPO."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

GAMMA, GAE_LAMBDA, VALUE_COEFFICIENT, MAX_GRAD_NORM = 0.99, 0.95, 0.5, 0.5


@dataclass(frozen=True)
class Workload:
    """environment, network: see `make_environment` and networks.py.

    steps: how long a measurement lasts; the first `warm` rollouts of it do not count.
    memory: size of the recurrent layer, 0 without. threads: of PyTorch, the peers' fastest number on two cores.
    """

    title: str
    environment: str
    network: str
    num_envs: int
    num_steps: int
    epochs: int
    minibatches: int
    steps: int
    warm: int = 3
    memory: int = 0
    threads: int = 1
    entropy_coefficient: float = 0.01
    learning_rate: float = 2.5e-4
    clip_range: float = 0.2

    @property
    def rollout(self) -> int:
        return self.num_envs * self.num_steps

    @property
    def minibatch(self) -> int:
        return self.rollout // self.minibatches


def _on_gpu(title: str, environment: str, network: str, num_envs: int, steps: int) -> Workload:
    return Workload(f"{title}, {num_envs} environments", environment, network, num_envs, 128, 4, 4, steps, warm=2)


WORKLOADS = {
    "W1": Workload("CartPole, MLP", "cartpole", "mlp", 8, 128, 4, 4, 80_000, warm=10),
    "W2": Workload("DoorKey, CNN", "doorkey", "grid", 16, 128, 4, 8, 26_000),
    "W3": Workload("DoorKey, CNN and memory of 128", "doorkey", "grid", 16, 128, 4, 8, 20_000, memory=128),
    "W4": Workload("HalfCheetah, MLP", "halfcheetah", "mlp", 8, 256, 10, 32, 20_000, entropy_coefficient=0.0),
    "W5": Workload("Pong, Nature CNN", "pong", "nature", 8, 128, 4, 4, 6_144, warm=1, threads=2),
    # AllenAct's tutorial: https://allenact.org/tutorials/minigrid-tutorial
    "W6": Workload(
        "AllenAct's MiniGrid tutorial, memory of 512", "empty_room", "cells", 128, 16, 3, 4, 16_384, warm=2, memory=512,
        learning_rate=1e-4, clip_range=0.1,
    ),
    # experiments/babyai_dagger_then_ppo.py as it is; the settings are those of AllenAct's BabyAI experiments;
    # half of the steps are of each stage, and both begin with `warm` rollouts that do not count
    "W7": Workload("GoToLocal, DAgger then PPO", "babyai", "minigrid", 16, 32, 4, 2, 61_440, warm=20, memory=128),
    # for gpu.py
    "cartpole-64": _on_gpu("CartPole, MLP", "cartpole", "mlp", 64, 163_840),
    "cartpole-256": _on_gpu("CartPole, MLP", "cartpole", "mlp", 256, 327_680),
    "pong-64": _on_gpu("Pong, Nature CNN", "pong", "nature", 64, 81_920),
    "pong-256": _on_gpu("Pong, Nature CNN", "pong", "nature", 256, 196_608),
    "residual-64": _on_gpu("Pong, residual CNN of IMPALA", "pong", "residual", 64, 81_920),
    "residual-256": _on_gpu("Pong, residual CNN of IMPALA", "pong", "residual", 256, 196_608),
}  # fmt: skip
ON_GPU = [name for name in WORKLOADS if "-" in name]


def make_environment(name: str) -> Any:
    """One environment, with the wrappers that everybody gets."""
    return {
        "cartpole": _cartpole, "doorkey": _doorkey, "halfcheetah": _halfcheetah, "pong": _pong,
        "empty_room": _empty_room, "babyai": _babyai,
    }[name]()  # fmt: skip


def _cartpole() -> Any:
    import gymnasium

    return gymnasium.make("CartPole-v1")


def _halfcheetah() -> Any:
    import gymnasium

    return gymnasium.make("HalfCheetah-v5")


def _doorkey() -> Any:
    import gymnasium
    import minigrid  # noqa: F401  registers the environments
    from minigrid.wrappers import ImgObsWrapper

    return ImgObsWrapper(gymnasium.make("MiniGrid-DoorKey-5x5-v0"))


def _pong() -> Any:
    """Four pictures of 84 by 84; in any version of gymnasium that a peer needs."""
    import ale_py
    import gymnasium

    if hasattr(gymnasium, "register_envs"):
        gymnasium.register_envs(ale_py)
    env = gymnasium.make("ALE/Pong-v5", frameskip=1, repeat_action_probability=0.0)
    env = gymnasium.wrappers.AtariPreprocessing(env, noop_max=30, frame_skip=4, screen_size=84)
    return gymnasium.wrappers.FrameStackObservation(env, 4)


def _empty_room() -> Any:
    """The tutorial's: 5 cells a side, a view of 5 by 5; turn left, turn right, forward."""
    import gymnasium
    from minigrid.envs import EmptyEnv
    from minigrid.wrappers import ImgObsWrapper

    env = ImgObsWrapper(EmptyEnv(size=5, agent_start_pos=None, agent_view_size=5))
    return gymnasium.wrappers.TransformAction(env, lambda action: action, gymnasium.spaces.Discrete(3))


def _babyai() -> Any:
    import gymnasium
    import minigrid  # noqa: F401  registers the environments

    from trainctl.wrappers import BabyAIExpert, TokenizedMission

    return TokenizedMission(BabyAIExpert(gymnasium.make("BabyAI-GoToLocal-v0")))
