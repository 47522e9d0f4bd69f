"""SerialEnvironments: several environments in this process, one after the other."""

from __future__ import annotations

import traceback
from bdb import BdbQuit
from collections.abc import Callable, Sequence
from typing import Any

import gymnasium
import numpy as np

from ...errors import EnvironmentFailure, ExperimentError
from ...tree import Tree, map_tree
from .environments import Environments, Episode, EpisodeEnd, Failure, Row
from .spaces import observation_layout, writer
from .tracked import TrackedEnvironment

FOR_THE_USER = (ExperimentError, BdbQuit)
"""What is no failure of one episode: an environment is written wrongly, or its author has left the debugger."""

ATTEMPTS = 10
"""How often in succession an environment is replaced that cannot begin an episode, before it is given up."""


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

    def begin_step(self, actions: np.ndarray) -> None:
        self._actions = actions

    def end_step(self, row: Row) -> list[EpisodeEnd]:
        ends: list[EpisodeEnd] = []
        for i, action in enumerate(self._actions):
            ends += self._step_one(i, action, row)
        return ends

    def _step_one(self, i: int, action: Any, row: Row) -> Sequence[EpisodeEnd]:
        environment = self.environments[i]
        try:
            observation, row.rewards[i], terminated, truncated, info = environment.step(action)
        except FOR_THE_USER:
            raise
        except Exception as error:
            end = fail(i, row, environment.failure(in_words(error)))
            return (self._followed(end, row.observations, environment.renew),)
        if not (terminated or truncated):
            self._write(row.observations, i, observation)
            return ()
        (row.terminated if terminated else row.truncated)[i] = True
        final = None if terminated else map_tree(np.array, observation)
        end = EpisodeEnd(i, environment.record(info), final)
        return (self._followed(end, row.observations, environment.reset),)

    def _followed(self, end: EpisodeEnd, observations: Tree, begin: Callable[[], Any]) -> EpisodeEnd:
        """The end of an episode, after the next has begun; if it fails to, the environment is replaced."""
        environment, failures = self.environments[end.environment], end.failures
        while True:
            try:
                observation = begin()
                break
            except FOR_THE_USER:
                raise
            except Exception as error:
                failures = (*failures, environment.failure(in_words(error)))
                begin = environment.renew
            if len(failures) > ATTEMPTS:
                raise cannot_begin(failures)
        self._write(observations, end.environment, observation)
        return end._replace(failures=failures)

    @property
    def has_expert(self) -> bool:
        return self.environments[0].env.has_wrapper_attr("expert_action")

    def expert_actions(self, actions: np.ndarray, available: np.ndarray) -> None:
        for i in range(self.num_envs):
            action = self._expert_action(i)
            available[i] = action is not None
            actions[i] = 0 if action is None else action

    def _expert_action(self, i: int) -> np.ndarray | None:
        return self.environments[i].expert_action()

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


def fail(i: int, row: Row, failure: Failure) -> EpisodeEnd:
    """Note in the row that environment i has failed: the step is no data and nothing is bootstrapped across it."""
    row.rewards[i], row.valid[i], row.terminated[i], row.truncated[i] = 0.0, False, True, False
    return EpisodeEnd(i, None, None, (failure,))


def cannot_begin(failures: Sequence[Failure]) -> EnvironmentFailure:
    """What is raised when an environment is given up."""
    last = failures[-1]
    return EnvironmentFailure(
        f"environment {last.environment} has failed {len(failures)} times in succession and was replaced in vain",
        f"the last: episode {last.episode} (seed {last.seed}), as it was to begin: {last.what}",
    )


def in_words(error: Exception) -> str:
    """The error and the line that raised it."""
    innermost = traceback.extract_tb(error.__traceback__)[-1]
    return f"{type(error).__name__}: {error}  ({innermost.filename}:{innermost.lineno})"
