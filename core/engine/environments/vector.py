"""VectorEnvironments: any gymnasium.vector.VectorEnv, in any of the three autoreset modes, as `Environments`."""

from __future__ import annotations

from functools import cached_property
from typing import Any

import numpy as np
from gymnasium.vector import AutoresetMode, VectorEnv

from ...errors import ExperimentError
from ...tree import Tree, map_tree
from ..seeding import derived_seed
from .environments import Environments, Episode, EpisodeEnd, Row, episode_metrics
from .first_look import LookedAt
from .spaces import as_array, from_environment


class VectorEnvironments(Environments):
    """A vector environment that somebody else wrote: gymnasium's own, EnvPool, a batched simulator.

    Its episodes are seeded once, at the first reset. Without `state_dict` and `load_state_dict` of its own it cannot
    be brought back: a resumed run begins new episodes, and says so.
    """

    def __init__(self, env: VectorEnv, first_index: int, seed: int, purpose: str = "environment") -> None:
        self.env, self._looked_at = env, LookedAt(env)
        self.num_envs = env.num_envs
        self.observation_space = env.single_observation_space
        self.action_space = env.single_action_space
        self.mode = AutoresetMode(env.metadata.get("autoreset_mode", AutoresetMode.NEXT_STEP))
        self._has_own_state = hasattr(env, "state_dict") and hasattr(env, "load_state_dict")
        self.guarantee = "bit-exact" if self._has_own_state else "exact-state"
        self._key = (seed, purpose, first_index)
        self._resets = 0
        self._ended = np.zeros(self.num_envs, bool)
        self._returns = np.zeros(self.num_envs)
        self._lengths = np.zeros(self.num_envs, np.int64)

    def reset(self, observations: Tree) -> None:
        seed = derived_seed(*self._key, self._resets)
        self._resets += 1
        self._ended[:], self._returns[:], self._lengths[:] = False, 0, 0
        _copy(observations, self._looked_at.reset(seed=seed)[0])

    def begin_step(self, actions: np.ndarray) -> None:
        self._actions = actions

    def end_step(self, row: Row) -> list[EpisodeEnd]:
        inserted = self._ended.copy() if self.mode == AutoresetMode.NEXT_STEP else None
        observations, rewards, terminated, truncated, infos = self._looked_at.step(self._actions)
        rewards, terminated, truncated = (as_array(values) for values in (rewards, terminated, truncated))
        row.rewards[:] = rewards
        row.terminated[:] = terminated
        row.truncated[:] = truncated & ~terminated
        if inserted is not None:
            row.valid[:] = ~inserted
        self._returns += rewards
        self._lengths += row.valid
        self._ended = terminated | truncated
        ends = (
            [self._end(i, row, observations, infos) for i in np.flatnonzero(self._ended).tolist()]
            if self._ended.any()
            else []
        )
        if ends and self.mode == AutoresetMode.DISABLED:
            observations, _ = self.env.reset(options={"reset_mask": self._ended.copy()})
        _copy(row.observations, observations)
        return ends

    def _end(self, i: int, row: Row, observations: Tree, infos: dict[str, Any]) -> EpisodeEnd:
        same_step = self.mode == AutoresetMode.SAME_STEP
        info = _of_environment(infos.get("final_info", infos) if same_step else infos, i)
        own = info.get("episode", {})
        episode = Episode(
            float(own.get("r", self._returns[i])), int(own.get("l", self._lengths[i])), episode_metrics(info)
        )
        self._returns[i], self._lengths[i] = 0, 0
        if not row.truncated[i]:
            return EpisodeEnd(i, episode, None)
        last = infos.get("final_obs") if same_step else observations
        if last is None:
            raise ExperimentError(
                f"{self.env} resets in the step that ends an episode, but its infos hold no final_obs",
                "a truncated episode bootstraps with the value of its last observation: put it into infos['final_obs']",
            )
        final = map_tree(lambda leaf: leaf[i], last)
        return EpisodeEnd(i, episode, map_tree(lambda leaf: np.array(as_array(leaf)), final))

    @cached_property
    def has_expert(self) -> bool:
        if hasattr(self.env, "expert_action"):
            return True
        return hasattr(self.env, "call") and all(self.env.call("has_wrapper_attr", "expert_action"))

    def expert_actions(self, actions: np.ndarray, available: np.ndarray) -> None:
        if not self.has_expert:
            raise ExperimentError(
                f"the vector environment {self.env} has no expert_action()",
                "give its environments, or itself, a method expert_action()",
            )
        own: Any = getattr(self.env, "expert_action", None)
        for i, action in enumerate(own() if own else self.env.call("expert_action")):  # type: ignore[attr-defined]
            available[i] = action is not None
            try:
                actions[i] = 0 if action is None else from_environment(self.action_space, action)
            except (ValueError, TypeError) as error:
                raise ExperimentError(
                    f"expert_action() returned an action outside the action space: {error}",
                    "return an element of the environment's action_space, or None where the expert has no action",
                ) from error

    def advance_scenes(self, observations: Tree) -> list[Episode]:
        cut_off = [
            Episode(float(self._returns[i]), int(self._lengths[i]), {}) for i in np.flatnonzero(self._lengths > 0)
        ]
        if hasattr(self.env, "advance_scene"):
            self.env.advance_scene()
        elif hasattr(self.env, "call") and all(self.env.call("has_wrapper_attr", "advance_scene")):
            self.env.call("advance_scene")
        self.reset(observations)
        return cut_off

    def state_dict(self) -> dict[str, Any]:
        state: dict[str, Any] = {
            "resets": self._resets,
            "ended": self._ended.tolist(),
            "returns": self._returns.tolist(),
            "lengths": self._lengths.tolist(),
        }
        if self._has_own_state:
            state["own"] = self.env.state_dict()  # type: ignore[attr-defined]
        return state

    def load_state_dict(self, state: dict[str, Any], observations: Tree) -> list[str]:
        self._resets = state["resets"]
        if "own" not in state or not self._has_own_state:
            self.reset(observations)
            why = "was of other workers" if self._has_own_state else "has no state_dict()/load_state_dict()"
            return [f"{self.env} {why}: its episodes begin anew"]
        self._ended = np.array(state["ended"], bool)
        self._returns = np.array(state["returns"], float)
        self._lengths = np.array(state["lengths"], np.int64)
        _copy(observations, self.env.load_state_dict(state["own"]))  # type: ignore[attr-defined]
        return []

    def close(self) -> None:
        self.env.close()


def _copy(target: Tree, source: Tree) -> None:
    map_tree(lambda to, values: np.copyto(to, as_array(values), casting="same_kind"), target, source)


def _of_environment(infos: dict[str, Any], i: int) -> dict[str, Any]:
    """One environment's part of the batched infos: the entries whose mask "_key" is set for it."""
    own: dict[str, Any] = {}
    for key, values in infos.items():
        mask = infos.get(f"_{key}")
        if mask is not None and not isinstance(mask, dict) and mask[i]:
            own[key] = _of_environment(values, i) if isinstance(values, dict) else values[i]
    return own
