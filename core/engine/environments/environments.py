"""Environments: what the collector asks of a group of environments, whatever steps them."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any, NamedTuple

import gymnasium
import numpy as np

from ...tree import Tree, map_tree


class Row(NamedTuple):
    """Where one step of N environments is written: views into the rollout.

    rewards (N,) float32; terminated, truncated (N,) bool, False beforehand, at most one of them set; valid (N,)
    bool, True beforehand; observations: tree of (N, …), what the next action is chosen on.
    """

    rewards: np.ndarray
    terminated: np.ndarray
    truncated: np.ndarray
    valid: np.ndarray
    observations: Tree

    def part(self, part: slice) -> Row:
        """That of some of the environments."""
        rewards, terminated, truncated, valid, observations = self
        own = map_tree(lambda leaf: leaf[part], observations)
        return Row(rewards[part], terminated[part], truncated[part], valid[part], own)


class Episode(NamedTuple):
    """A finished episode: undiscounted return, length in steps, and the environment's own episode metrics."""

    episode_return: float
    length: int
    metrics: dict[str, float]


class Failure(NamedTuple):
    """An environment that raised, crashed or hung, with all that is needed to see it again.

    * environment: global index; episode, seed: of the episode in which it failed.
    * actions: taken since the episode began, the last one included: (steps, …).
    * asked: after how many of these its expert was asked, each time. scenes: how many new ones were asked for before.
    * what: the error in words.
    """

    environment: int
    episode: int
    seed: int
    actions: np.ndarray
    asked: list[int]
    scenes: int
    what: str


class EpisodeEnd(NamedTuple):
    """An episode that ended at a step.

    * environment: index within the group.
    * episode: its record; None if the environment failed: then the episode does not count.
    * final_observation: the last observation where it was truncated (the value there is bootstrapped), else None.
    * failures: of this environment, in the step or as its next episode was to begin; it has been replaced each time.
    """

    environment: int
    episode: Episode | None
    final_observation: Tree | None
    failures: tuple[Failure, ...] = ()

    def shifted(self, first: int) -> EpisodeEnd:
        """The same in a larger group, where the environments of this one begin at index `first`."""
        return self._replace(environment=self.environment + first)


class Environments(ABC):
    """A group of environments that are stepped together and begin new episodes by themselves."""

    num_envs: int
    observation_space: gymnasium.Space[Any]
    action_space: gymnasium.Space[Any]

    guarantee = "bit-exact"
    """What a resume can promise of these environments: "bit-exact" or "exact-state" (episodes begin anew)."""

    @property
    def where(self) -> str:
        """Which processes step them, in words."""
        return "in the training's process"

    @abstractmethod
    def reset(self, observations: Tree) -> None:
        """Begin a new episode in every environment; the observations are written into the tree of (N, …)."""

    @property
    def groups(self) -> list[tuple[Environments, slice]]:
        """The parts that can be stepped each at its own time, and where each lies among all."""
        return [(self, slice(0, self.num_envs))]

    def step(self, actions: np.ndarray, row: Row) -> list[EpisodeEnd]:
        """Take one action (N, …, as the environment wants them) everywhere; write the outcome into the row."""
        self.begin_step(actions)
        return self.end_step(row)

    @abstractmethod
    def begin_step(self, actions: np.ndarray) -> None:
        """Begin the step in which these actions are taken; they must stay as they are until it has ended."""

    @abstractmethod
    def end_step(self, row: Row) -> list[EpisodeEnd]:
        """Wait until it has been taken, or take it now; write the outcome into the row."""

    @property
    @abstractmethod
    def has_expert(self) -> bool:
        """Whether the environments, or wrappers of them, have a method `expert_action`."""

    def ask_experts(self) -> None:  # noqa: B027 in this process nobody can think meanwhile
        """Let the experts begin to think about what is seen now, or as soon as a step that has begun is taken;
        `expert_actions` waits for what they say."""

    @abstractmethod
    def expert_actions(self, actions: np.ndarray, available: np.ndarray) -> None:
        """Ask every expert: write its actions (as the policy gives them) and where there are any, (N,) bool.

        Raises ExperimentError where an expert is missing or gives an action outside the action space.
        """

    @abstractmethod
    def advance_scenes(self, observations: Tree) -> list[Episode]:
        """Ask for new scenes where there is `advance_scene()`, and reset all. Returns the episodes cut off."""

    @abstractmethod
    def state_dict(self) -> dict[str, Any]:
        """Where every environment is, as numbers, lists and tensors."""

    @abstractmethod
    def load_state_dict(self, state: dict[str, Any], observations: Tree) -> list[str]:
        """Bring every environment to where it was and write its last observation into the tree.

        Returns what could not be restored, in words, one entry for each problem; those environments begin a new
        episode.
        """

    @abstractmethod
    def close(self) -> None:
        """Release what the environments hold."""


def episode_metrics(info: dict[str, Any]) -> dict[str, float]:
    """The numbers an environment reports of a finished episode: info["episode_metrics"], and success by name."""
    metrics = {name: float(value) for name, value in info.get("episode_metrics", {}).items()}
    for name in ("success", "is_success"):
        if name in info:
            metrics.setdefault("success", float(info[name]))
    return metrics
