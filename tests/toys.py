"""Tiny real environments and models with recognisable numbers, and the settings to train in them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import gymnasium
import numpy as np
import torch
from gymnasium import spaces
from torch import Tensor, nn

from trainctl.core.distributions import Categorical
from trainctl.core.model import ActorCriticOutput
from trainctl.core.settings import ResolvedSettings

Script = Sequence[tuple[int, str]]
"""(length, "terminated" | "truncated" | "both") of each episode; the last one repeats."""

ENDS = ("terminated", "truncated", "both")


class CountingEnv(gymnasium.Env[np.ndarray, np.int64]):
    """Shows [100 * episode + steps taken in it], rewards the n-th step of an episode with unit * (10 * n + action)."""

    def __init__(self, script: Script = ((5, "terminated"),), unit: float = 1.0) -> None:
        self.observation_space = spaces.Box(-np.inf, np.inf, (1,), np.float32)
        self.action_space = spaces.Discrete(3)
        self.script, self.unit = script, unit
        self.episode, self.steps = -1, 0
        self.seeds: list[int | None] = []

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        super().reset(seed=seed)
        self.seeds.append(seed)
        self.episode, self.steps = self.episode + 1, 0
        return self.observation(), {}

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        self.steps += 1
        length, end = self.script[min(self.episode, len(self.script) - 1)]
        terminated, truncated = end in ("terminated", "both"), end in ("truncated", "both")
        over = self.steps == length
        reward = self.unit * (10 * self.steps + int(action))
        return self.observation(), reward, over and terminated, over and truncated, self.info(over)

    def observation(self) -> Any:
        return np.array([100 * self.episode + self.steps], np.float32)

    def info(self, over: bool) -> dict[str, Any]:
        return {}


class MeasuringEnv(CountingEnv):
    """Reports metrics of each finished episode."""

    def info(self, over: bool) -> dict[str, Any]:
        return {"episode_metrics": {"distance": 7.0 * (self.episode + 1)}, "success": self.episode == 0} if over else {}


class ExpertEnv(CountingEnv):
    """Its expert says what `expert` says of the steps taken in the episode."""

    def __init__(self, expert: Callable[[int], Any] = lambda steps: 2, script: Script = ((5, "terminated"),)) -> None:
        super().__init__(script)
        self.expert = expert

    def expert_action(self) -> Any:
        return self.expert(self.steps)


class SceneEnv(CountingEnv):
    """Adds 10,000 to the observation for each scene it was asked for."""

    scene = 0

    def advance_scene(self) -> None:
        self.scene += 1

    def observation(self) -> Any:
        return np.float32(10_000 * self.scene) + super().observation()


class DictEnv(CountingEnv):
    """Shows {"count": as CountingEnv, "inner": {"parity": of the steps}}, and computes in float64."""

    def __init__(self, script: Script = ((5, "terminated"),), unit: float = 1.0) -> None:
        super().__init__(script, unit)
        count = spaces.Box(-np.inf, np.inf, (1,), np.float64)
        self.observation_space = spaces.Dict({"count": count, "inner": spaces.Dict({"parity": spaces.Discrete(2)})})

    def observation(self) -> Any:
        return {"count": super().observation().astype(np.float64), "inner": {"parity": self.steps % 2}}


class OwnStateEnv(CountingEnv):
    """Has a state that no replay of actions leads to, and saves it itself."""

    hidden = 0

    def observation(self) -> Any:
        return super().observation() + np.float32(self.hidden)

    def state_dict(self) -> dict[str, Any]:
        return {"hidden": self.hidden, "steps": self.steps, "episode": self.episode}

    def load_state_dict(self, state: dict[str, Any]) -> Any:
        self.hidden, self.steps, self.episode = state["hidden"], state["steps"], state["episode"]
        return self.observation()


class IdentityEnv(gymnasium.Env[int, np.int64]):
    """Rewards an action that equals the observation, a random number below n, with 1; truncated after `length`."""

    def __init__(self, n: int = 4, length: int = 8) -> None:
        self.observation_space, self.action_space = spaces.Discrete(n), spaces.Discrete(n)
        self.length, self.steps, self.shown = length, 0, 0

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[int, dict[str, Any]]:
        super().reset(seed=seed)
        self.steps = 0
        return self._show(), {}

    def step(self, action: Any) -> tuple[int, float, bool, bool, dict[str, Any]]:
        self.steps += 1
        reward = float(int(action) == self.shown)
        return self._show(), reward, False, self.steps == self.length, {}

    def _show(self) -> int:
        self.shown = int(self.np_random.integers(self.observation_space.n))  # type: ignore[attr-defined]
        return self.shown


class KnownModel(nn.Module):
    """Value 0.001 * count + 0.002, and the action count % 3 for certain: both known functions of the observation."""

    def forward(self, observations: Any, memory: Tensor | None, masks: Tensor) -> ActorCriticOutput:
        count = observations["count"] if isinstance(observations, dict) else observations
        return ActorCriticOutput(certainly(count[..., 0]), 0.001 * count[..., 0] + 0.002, None)

    @staticmethod
    def value_of(history: Sequence[float]) -> float:
        """The value at the end of an episode's observations so far."""
        return 0.001 * history[-1] + 0.002


class SummingModel(nn.Module):
    """As KnownModel, but its value is 0.0001 times the sum of the episode's observations so far: its memory."""

    def forward(self, observations: Any, memory: Tensor | None, masks: Tensor) -> ActorCriticOutput:
        assert memory is not None
        count = observations["count"] if isinstance(observations, dict) else observations
        sums = []
        for step, mask in zip(count, masks, strict=True):
            memory = memory * mask[:, None] + step
            sums.append(memory[:, 0])
        return ActorCriticOutput(certainly(count[..., 0]), 0.0001 * torch.stack(sums), memory)

    def initial_memory(self, num_environments: int) -> Tensor:
        return torch.full((num_environments, 1), 77.0)  # never seen: an episode begins with mask 0

    @staticmethod
    def value_of(history: Sequence[float]) -> float:
        """The value at the end of an episode's observations so far."""
        return 0.0001 * sum(history)


def certainly(count: Tensor) -> Categorical:
    """The action count % 3, whatever the noise."""
    return Categorical(1e6 * nn.functional.one_hot(count.long() % 3, 3).float())


def resolved(**changes: Any) -> ResolvedSettings:
    """Settings of a stage; those not named are small and plain."""
    values: dict[str, Any] = {
        "num_mini_batch": 1,
        "update_repeats": 1,
        "max_grad_norm": None,
        "num_steps": 4,
        "gamma": 0.9,
        "use_gae": True,
        "gae_lambda": 0.8,
        "advance_scene_rollout_period": None,
        "save_interval": None,
        "metric_accumulate_interval": 100,
        "grad_norm_type": float("inf"),
    }
    return ResolvedSettings(**{**values, **changes})
