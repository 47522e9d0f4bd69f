"""What returns and advantages are, written from their definitions: float64, one episode and one step at a time."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

from tests.toys import Script


class Step(NamedTuple):
    """A step of an environment, the value before it, and the value of what comes after it (0 when terminated)."""

    observation: float
    reward: float
    terminated: bool
    truncated: bool
    value: float
    next_value: float

    @property
    def ended(self) -> bool:
        return self.terminated or self.truncated


def walk(script: Script, unit: float, steps: int, value_of: Callable[[Sequence[float]], float]) -> list[Step]:
    """The first steps in a `CountingEnv` with this script, when the action is always observation % 3."""
    walked: list[Step] = []
    episode = 0
    while len(walked) < steps:
        length, end = script[min(episode, len(script) - 1)]
        for n in range(length):
            history = [100.0 * episode + k for k in range(n + 1)]
            over = n + 1 == length
            terminated = over and end in ("terminated", "both")
            next_value = 0.0 if terminated else value_of([*history, history[-1] + 1])
            reward = unit * (10 * (n + 1) + history[-1] % 3)
            walked.append(
                Step(history[-1], reward, terminated, over and end == "truncated", value_of(history), next_value)
            )
        episode += 1
    return walked[:steps]


def advantages_of(steps: Sequence[Step], gamma: float, gae_lambda: float) -> list[float]:
    """A_t = Σ_l (γλ)^l δ_{t+l}, to the end of the episode or of what was collected."""
    advantages = []
    for t in range(len(steps)):
        total, weight = 0.0, 1.0
        for step in steps[t:]:
            total += weight * (step.reward + gamma * step.next_value - step.value)
            if step.ended:
                break
            weight *= gamma * gae_lambda
        advantages.append(total)
    return advantages


def returns_of(steps: Sequence[Step], gamma: float) -> list[float]:
    """R_t = Σ_l γ^l r_{t+l} to the end of the episode or of what was collected, and the value of what follows."""
    returns = []
    for t in range(len(steps)):
        total, weight = 0.0, 1.0
        for step in steps[t:]:
            total += weight * step.reward
            weight *= gamma
            if step.ended:
                break
        returns.append(total + weight * step.next_value)
    return returns
