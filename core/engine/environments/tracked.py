"""TrackedEnvironment: one environment with its episode's record, which is enough to bring it back."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from typing import Any, SupportsFloat

import gymnasium
import numpy as np
import torch

from ...errors import ExperimentError
from ..seeding import derived_seed
from .environments import Episode, Failure, episode_metrics
from .first_look import LookedAt
from .spaces import from_environment


class TrackedEnvironment:
    """An environment whose every episode begins with a seed of its own: (run seed, purpose, index, episode).

    The episode's seed, the actions since then and the steps at which the expert was asked (it may remember being asked)
    are its whole state for an environment that is deterministic given its seed: `load_state_dict` replays them. An
    environment that has `state_dict` and `load_state_dict` itself is saved with those instead.
    """

    def __init__(self, make: Callable[[], gymnasium.Env], seed: int, purpose: str, index: int) -> None:
        self.make = make
        self.index = index
        self.key = (seed, purpose, index)
        self.episode = -1
        self.scenes = 0
        self.actions: list[Any] = []
        self.asked: list[int] = []
        self.episode_return = 0.0
        self._build()

    def _build(self) -> None:
        self.env = self.make()
        self._looked_at = LookedAt(self.env)
        for _ in range(self.scenes):
            self._next_scene()

    def renew(self) -> Any:
        """Build the environment again after it has failed; its next episode begins, whose first observation returns."""
        with contextlib.suppress(Exception):  # it is broken: that it cannot be closed either is no news
            self.env.close()
        self._build()
        return self.reset()

    def failure(self, what: str) -> Failure:
        """What there is to say about a failure in the running episode."""
        done = (np.array(self.actions), list(self.asked), self.scenes)
        return Failure(self.index, self.episode, self.episode_seed, *done, what)

    @property
    def episode_seed(self) -> int:
        """What the running episode was reset with."""
        return derived_seed(*self.key, self.episode)

    def reset(self) -> Any:
        """Begin the next episode; returns its first observation."""
        self.episode += 1
        return self._begin()

    def _begin(self) -> Any:
        self.actions, self.asked = [], []
        self.episode_return = 0.0
        return self._looked_at.reset(seed=self.episode_seed)[0]

    def step(self, action: Any) -> tuple[Any, SupportsFloat, bool, bool, dict[str, Any]]:
        """One step, as `gymnasium.Env.step`."""
        self.actions.append(action.copy() if isinstance(action, np.ndarray) else action)  # it may be changed in place
        observation, reward, terminated, truncated, info = self._looked_at.step(action)
        self.episode_return += float(reward)
        return observation, reward, terminated, truncated, info

    def record(self, info: dict[str, Any]) -> Episode:
        """The record of the episode that is ending. What `RecordEpisodeStatistics` says goes before our own sum."""
        own = info.get("episode", {})
        return Episode(
            float(own.get("r", self.episode_return)), int(own.get("l", len(self.actions))), episode_metrics(info)
        )

    def expert_action(self) -> np.ndarray | None:
        """The expert's action as the policy would give it, or None where it has none."""
        if not self.env.has_wrapper_attr("expert_action"):
            raise ExperimentError(
                f"the environment {self.env} has no expert_action()",
                "give it (or a wrapper of it) a method expert_action() that returns an action or None",
            )
        self.asked.append(len(self.actions))
        action = self.env.get_wrapper_attr("expert_action")()
        if action is None:
            return None
        try:
            return from_environment(self.env.action_space, action)
        except (ValueError, TypeError) as error:
            raise ExperimentError(
                f"expert_action() of {self.env} returned an action outside the action space: {error}",
                "return an element of the environment's action_space, or None where the expert has no action",
            ) from error

    def advance_scene(self) -> None:
        """Ask the environment for a new scene, if it knows such a thing."""
        self.scenes += 1
        self._next_scene()

    def advance_to(self, scenes: int) -> None:
        """Ask for new scenes until so many were asked for."""
        while self.scenes < scenes:
            self.advance_scene()

    def _next_scene(self) -> None:
        if self.env.has_wrapper_attr("advance_scene"):
            self.env.get_wrapper_attr("advance_scene")()

    def state_dict(self) -> dict[str, Any]:
        """The episode's number, its return so far, and its actions or the environment's own state."""
        state: dict[str, Any] = {"episode": self.episode, "return": self.episode_return, "asked": list(self.asked)}
        state["scenes"] = self.scenes
        # the type of the actions counts: a float32 action replayed as float64 leads elsewhere
        state["actions"] = torch.from_numpy(np.array(self.actions))
        if self._has_own_state():
            state["own"] = self.env.get_wrapper_attr("state_dict")()
        return state

    def load_state_dict(self, state: dict[str, Any]) -> Any:
        """Bring the environment back; returns its last observation."""
        self.episode = state["episode"]
        self.advance_to(state["scenes"])
        observation = self._begin()
        actions = list(state["actions"].numpy())
        if "own" in state:
            observation = self.env.get_wrapper_attr("load_state_dict")(state["own"])
            self.actions, self.asked = actions, state["asked"]
        else:
            observation = self._replay(actions, set(state["asked"]), observation)
        self.episode_return = state.get("return", self.episode_return)
        return observation

    def _replay(self, actions: list[Any], asked: set[int], observation: Any) -> Any:
        for step, action in enumerate([*actions, None]):
            if step in asked:
                self.expert_action()
            if step < len(actions):
                observation = self.step(action)[0]
        return observation

    def _has_own_state(self) -> bool:
        return self.env.has_wrapper_attr("state_dict") and self.env.has_wrapper_attr("load_state_dict")

    def close(self) -> None:
        """Close the environment."""
        self.env.close()
