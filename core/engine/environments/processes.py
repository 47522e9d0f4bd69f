"""ProcessEnvironments: several environments in each of a few child processes, over shared memory."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import gymnasium
import numpy as np
import torch

from ...shares import evenly_distributed_ranges
from ...tree import Tree, map_tree
from ..device import cores
from ..seeding import derived_seed
from .channel import PATIENCE
from .child import SECONDS_TO_CLOSE, SharedStep, Work
from .children import Child, ChildLost, OwnShare
from .environments import Environments, Episode, EpisodeEnd, Failure, Row
from .serial import ATTEMPTS, SerialEnvironments, cannot_begin, fail

SECONDS_TO_REPLAY_A_STEP = 1.0
"""How long each step of a long episode may take, beyond the usual time, when it is replayed."""


class ProcessEnvironments(Environments):
    """Environments dealt to child processes that step at the same time.

    The outcome is the same, bit by bit, as that of `SerialEnvironments`: every environment has its own seeds. A child
    that dies or hangs is replaced: the environment it was stepping loses its episode, the others are replayed.

    * processes: number of children, at most one for each environment.
    * timeout: seconds that a step of a child's environments may take before it counts as hung.
    * takes_part: this process steps a share as well; nobody replaces it if an environment there hangs or crashes it.
    * groups: how many such groups this process has in turn.
    """

    def __init__(
        self,
        make: Callable[[], gymnasium.Env[Any, Any]],
        indices: Sequence[int],
        seed: int,
        purpose: str,
        processes: int,
        timeout: float = 60.0,
        takes_part: bool = False,
        groups: int = 1,
    ) -> None:
        example = SerialEnvironments(make, indices[:1], seed, purpose)
        self.num_envs = len(indices)
        self.observation_space, self.action_space = example.observation_space, example.action_space
        self._has_expert = example.has_expert
        self._indices, self._key = indices, (seed, purpose)
        self._memory = SharedStep(example, self.num_envs)
        example.close()
        # what each environment has done in its episode, and the episode's number before the present step
        self._histories: list[list[Any]] = [[] for _ in indices]
        self._asked: list[list[int]] = [[] for _ in indices]  # at which of these steps its expert was asked
        self._episodes = self._memory.episodes.copy()
        self._experts_asked = False
        self._scenes = 0  # that were asked for so far
        self.processes, self.takes_part = min(processes, len(indices) - takes_part), takes_part
        # a process that waits awake beside children on every core gets two of these onto one core
        patience = PATIENCE if self.processes * groups < cores() else 0.0
        self._children: list[Child] = []
        self._shares: list[OwnShare | Child] = []
        for own in evenly_distributed_ranges(len(indices), self.processes + takes_part):
            part = slice(own.start, own.stop)
            work = Work(part, make, indices[part], seed, purpose)
            is_own = takes_part and own.start == 0  # first, so that it steps before the children are waited for
            child = (self._memory, work, self._children, timeout, patience)
            self._shares.append(OwnShare(self._memory, work) if is_own else Child(*child))

    @property
    def where(self) -> str:
        children = f"in {self.processes} child process{'es' if self.processes > 1 else ''}"
        return f"{super().where} and {children}" if self.takes_part else children

    def reset(self, observations: Tree) -> None:
        self._all("begin")
        self._begin_episodes(range(self.num_envs))
        self._copy_to(observations)

    def begin_step(self, actions: np.ndarray) -> None:
        self._memory.begin(actions)
        for share in self._shares:
            share.ask("take_step")
        for history, action in zip(self._histories, actions, strict=True):
            history.append(action)

    def end_step(self, row: Row) -> list[EpisodeEnd]:
        memory = self._memory
        ends = [end for share in self._shares for end in self._step_of(share)]
        row.rewards[:], row.valid[:] = memory.row.rewards, memory.row.valid
        row.terminated[:], row.truncated[:] = memory.row.terminated, memory.row.truncated
        self._begin_episodes(end.environment for end in ends)
        self._copy_to(row.observations)
        return ends

    def _step_of(self, share: OwnShare | Child) -> list[EpisodeEnd]:
        """The episodes that ended in a share, with indices of the whole group."""
        start = share.work.part.start
        failed: list[EpisodeEnd] = []
        patience = 0.0
        while True:
            try:
                ends: list[EpisodeEnd] = share.answer(patience)
                break
            except ChildLost as lost:
                failed.append(self._blame(share.work.part, str(lost)))
                if len(failed) > ATTEMPTS:
                    raise cannot_begin([failure for end in failed for failure in end.failures]) from lost
                lost.child.start_again()
                share.ask("take_step_again", self._before_step(share.work.part, [end.environment for end in failed]))
                if self._experts_asked:
                    share.ask("experts_say")  # what was asked for after the step was lost with the child
                patience = sum(map(len, self._histories[share.work.part])) * SECONDS_TO_REPLAY_A_STEP
        return failed + [end.shifted(start) for end in ends]

    def _blame(self, part: slice, what: str) -> EpisodeEnd:
        """The environment of this share that was being stepped when its process was lost."""
        guilty = part.start + int(self._memory.stepping[part].argmax())
        self._memory.stepping[part] = False
        index, episode = self._indices[guilty], int(self._episodes[guilty])
        actions, asked = np.array(self._histories[guilty]), list(self._asked[guilty])
        if self._experts_asked:  # and what was asked is lost
            asked.append(len(actions))
        seed = derived_seed(*self._key, index, episode)
        failure = Failure(index, episode, seed, actions, asked, self._scenes, what)
        return fail(guilty, self._memory.row, failure)

    def _before_step(self, part: slice, guilty: list[int]) -> tuple[int, dict[int, int], dict[str, Any]]:
        """What `Share.take_step_again` needs."""
        anew = {i - part.start: int(self._episodes[i]) + guilty.count(i) for i in guilty}
        states: dict[str, Any] = {
            str(self._indices[i]): {
                "episode": int(self._episodes[i]),
                "actions": torch.from_numpy(np.array(self._histories[i][:-1], self.action_space.dtype)),
                "asked": self._asked[i],
                "scenes": self._scenes,
            }
            for i in range(part.start, part.stop)
            if i not in guilty
        }
        return self._scenes, anew, states

    def _begin_episodes(self, environments: Iterable[int]) -> None:
        for i in environments:
            self._histories[i], self._asked[i] = [], []
            self._episodes[i] = self._memory.episodes[i]

    def _copy_to(self, observations: Tree) -> None:
        map_tree(np.copyto, observations, self._memory.row.observations)

    @property
    def has_expert(self) -> bool:
        return self._has_expert

    def ask_experts(self) -> None:
        for share in self._shares:
            share.ask("experts_say")
        self._experts_asked = True

    def expert_actions(self, actions: np.ndarray, available: np.ndarray) -> None:
        if not self._experts_asked:
            self.ask_experts()
        self._experts_asked = False
        for share in self._shares:
            try:
                share.answer()
            except ChildLost:  # the step that follows replaces the child
                self._memory.has_expert_action[share.work.part] = False
        for asked, history in zip(self._asked, self._histories, strict=True):
            asked.append(len(history))
        actions[:], available[:] = self._memory.expert_actions, self._memory.has_expert_action

    def advance_scenes(self, observations: Tree) -> list[Episode]:
        self._scenes += 1
        cut_off = [episode for own in self._all("new_scenes") for episode in own]
        self._begin_episodes(range(self.num_envs))
        self._copy_to(observations)
        return cut_off

    def state_dict(self) -> dict[str, Any]:
        return {index: state for own in self._all("save") for index, state in own.items()}

    def load_state_dict(self, state: dict[str, Any], observations: Tree) -> list[str]:
        steps = sum(len(own["actions"]) for own in state.values())
        self._scenes = max(own["scenes"] for own in state.values())
        found = self._all("restore", state, patience=steps * SECONDS_TO_REPLAY_A_STEP)
        problems = [problem for own in found for problem in own]
        self._begin_episodes(range(self.num_envs))
        for i, index in enumerate(self._indices):
            self._histories[i] = list(state[str(index)]["actions"].numpy())
            self._asked[i] = list(state[str(index)]["asked"])
        self._copy_to(observations)
        return problems

    def _all(self, method: str, argument: Any = None, patience: float = 0.0) -> list[Any]:
        """Have all shares do the same, at the same time. patience: seconds beyond the time that a step may take."""
        for share in self._shares:
            share.ask(method, argument)
        return [share.answer(patience) for share in self._shares]

    def close(self) -> None:
        for child in self._children:
            child.channel.close()  # so that all close their environments at the same time
        until = time.monotonic() + SECONDS_TO_CLOSE
        for share in self._shares:
            share.close(max(0.0, until - time.monotonic()))
