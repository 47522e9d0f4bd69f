"""GroupedEnvironments: groups of environments that can be stepped in turn, as one."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ...tree import Tree, map_tree
from .environments import Environments, Episode, EpisodeEnd, Row


class GroupedEnvironments(Environments):
    """Several groups of environments that bring their state by global index.

    Who steps them one by one, see `groups`, can choose actions for one group while another takes its step.
    """

    def __init__(self, members: Sequence[Environments]) -> None:
        self._groups: list[tuple[Environments, slice]] = []
        self.num_envs = 0
        for own in members:
            self._groups.append((own, slice(self.num_envs, self.num_envs + own.num_envs)))
            self.num_envs += own.num_envs
        self.observation_space, self.action_space = members[0].observation_space, members[0].action_space
        self.guarantee = members[0].guarantee

    @property
    def groups(self) -> list[tuple[Environments, slice]]:
        return self._groups

    @property
    def where(self) -> str:
        return f"in {len(self._groups)} groups, each {self._groups[0][0].where}"

    @property
    def has_expert(self) -> bool:
        return self._groups[0][0].has_expert

    def reset(self, observations: Tree) -> None:
        for own, part in self._groups:
            own.reset(_part(observations, part))

    def begin_step(self, actions: np.ndarray) -> None:
        for own, part in self._groups:
            own.begin_step(actions[part])

    def end_step(self, row: Row) -> list[EpisodeEnd]:
        return [end.shifted(part.start) for own, part in self._groups for end in own.end_step(row.part(part))]

    def ask_experts(self) -> None:
        for own, _ in self._groups:
            own.ask_experts()

    def expert_actions(self, actions: np.ndarray, available: np.ndarray) -> None:
        for own, part in self._groups:
            own.expert_actions(actions[part], available[part])

    def advance_scenes(self, observations: Tree) -> list[Episode]:
        return [episode for own, part in self._groups for episode in own.advance_scenes(_part(observations, part))]

    def state_dict(self) -> dict[str, Any]:
        return {index: state for own, _ in self._groups for index, state in own.state_dict().items()}

    def load_state_dict(self, state: dict[str, Any], observations: Tree) -> list[str]:
        return [
            problem for own, part in self._groups for problem in own.load_state_dict(state, _part(observations, part))
        ]

    def close(self) -> None:
        for own, _ in self._groups:
            own.close()


def _part(tree: Tree, part: slice) -> Tree:
    return map_tree(lambda leaf: leaf[part], tree)
