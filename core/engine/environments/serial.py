"""SerialEnvironments: several environments in this process, one after the other."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import gymnasium
import numpy as np

from ...tree import Tree, map_tree
from .environments import Environments, Episode, EpisodeEnd, Row
from .spaces import observation_layout, writer
from .tracked import TrackedEnvironment


class SerialEnvironments(Environments):
    """Environments stepped in a loop; the cheapest way for environments that are cheap themselves.

    * make: builds one environment.
    * indices: global index of each, from which its seeds come.
    * seed, purpose: the other parts of its seeds' key.
    """

    def __init__(
        self, make: Callable[[], gymnasium.Env], indices: Sequence[int], seed: int, purpose: str = "environment"
    ) -> None:
        self.environments = [TrackedEnvironment(make, seed, purpose, index) for index in indices]
        self.num_envs = len(self.environments)
        self.observation_space = self.environments[0].env.observation_space
        self.action_space = self.environments[0].env.action_space
        self._write = writer(observation_layout(self.observation_space))

    def reset(self, observations: Tree) -> None:
        for i, environment in enumerate(self.environments):
            self._write(observations, i, environment.reset())

    def step(self, actions: np.ndarray, row: Row) -> list[EpisodeEnd]:
        ends = []
        rewards, observations, write = row.rewards, row.observations, self._write
        for i, environment in enumerate(self.environments):
            observation, rewards[i], terminated, truncated, info = environment.step(actions[i])
            if terminated or truncated:
                (row.terminated if terminated else row.truncated)[i] = True
                final = None if terminated else map_tree(np.array, observation)
                ends.append(EpisodeEnd(i, environment.record(info), final))
                observation = environment.reset()
            write(observations, i, observation)
        return ends

    def expert_actions(self, actions: np.ndarray, available: np.ndarray) -> None:
        for i, environment in enumerate(self.environments):
            action = environment.expert_action()
            available[i] = action is not None
            actions[i] = 0 if action is None else action

    def advance_scenes(self, observations: Tree) -> list[Episode]:
        cut_off = [environment.record({}) for environment in self.environments if environment.actions]
        for i, environment in enumerate(self.environments):
            environment.advance_scene()
            self._write(observations, i, environment.reset())
        return cut_off

    def state_dict(self) -> dict[str, Any]:
        return {str(environment.index): environment.state_dict() for environment in self.environments}

    def load_state_dict(self, state: dict[str, Any], observations: Tree) -> list[str]:
        for i, environment in enumerate(self.environments):
            self._write(observations, i, environment.load_state_dict(state[str(environment.index)]))
        return []

    def close(self) -> None:
        for environment in self.environments:
            environment.close()
