"""ProcessEnvironments: several environments in each of a few child processes, over shared memory."""

from __future__ import annotations

import contextlib
import itertools
import os
import time
import weakref
from collections.abc import Callable, Iterable, Sequence
from multiprocessing.connection import Connection
from multiprocessing.context import ForkProcess
from typing import Any

import gymnasium
import numpy as np
import torch

from ...errors import EnvironmentFailure
from ...shares import evenly_distribute_count_into_bins
from ...tree import Tree, map_tree
from ..seeding import derived_seed
from .channel import Channel, fork
from .child import SharedStep, Work, serve
from .environments import Environments, Episode, EpisodeEnd, Failure, Row
from .serial import SerialEnvironments, fail

SECONDS_TO_REPLAY_A_STEP = 1.0
"""How long each step of a long episode may take, beyond the usual time, when it is replayed."""


class ProcessEnvironments(Environments):
    """Environments dealt to child processes that step at the same time.

    The outcome is the same, bit by bit, as that of `SerialEnvironments`: every environment has its own seeds. A child
    that dies or hangs is replaced: the environment it was stepping loses its episode, the others are replayed.

    * processes: number of children, at most one for each environment.
    * timeout: seconds that a step of a child's environments may take before it counts as hung.
    """

    def __init__(
        self,
        make: Callable[[], gymnasium.Env[Any, Any]],
        indices: Sequence[int],
        seed: int,
        purpose: str,
        processes: int,
        timeout: float = 60.0,
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
        sizes = evenly_distribute_count_into_bins(len(indices), min(processes, len(indices)))
        self._children: list[_Child] = []
        for start, end in itertools.pairwise(itertools.accumulate(sizes, initial=0)):
            work = Work(slice(start, end), make, indices[start:end], seed, purpose)
            self._children.append(_Child(self._memory, work, self._children, timeout))

    def reset(self, observations: Tree) -> None:
        self._all("begin")
        self._begin_episodes(range(self.num_envs))
        self._copy_to(observations)

    def step(self, actions: np.ndarray, row: Row) -> list[EpisodeEnd]:
        memory = self._memory
        memory.begin(actions)
        for child in self._children:
            child.ask("take_step")
        for history, action in zip(self._histories, actions, strict=True):
            history.append(action)
        ends = [end for child in self._children for end in self._step_of(child)]
        row.rewards[:], row.valid[:] = memory.row.rewards, memory.row.valid
        row.terminated[:], row.truncated[:] = memory.row.terminated, memory.row.truncated
        self._begin_episodes(end.environment for end in ends)
        self._copy_to(row.observations)
        return ends

    def _step_of(self, child: _Child) -> list[EpisodeEnd]:
        """The episodes that ended in a child's share, with indices of the whole group."""
        start = child.work.part.start
        failed: list[EpisodeEnd] = []
        while True:
            try:
                ends: list[EpisodeEnd] = child.answer()
                break
            except _ChildLost as lost:
                failed.append(self._blame(child, str(lost)))
                child.start_again()
                child.ask("take_step_again", self._before_step(child, [end.environment for end in failed]))
        return failed + [end._replace(environment=end.environment + start) for end in ends]

    def _blame(self, child: _Child, what: str) -> EpisodeEnd:
        """The environment that was being stepped when its process was lost."""
        part = child.work.part
        guilty = part.start + int(self._memory.stepping[part].argmax())
        self._memory.stepping[part] = False
        index, episode = self._indices[guilty], int(self._episodes[guilty])
        actions = np.array(self._histories[guilty])
        failure = Failure(index, episode, derived_seed(*self._key, index, episode), actions, what)
        return fail(guilty, self._memory.row, failure)

    def _before_step(self, child: _Child, guilty: list[int]) -> tuple[dict[int, int], dict[str, Any]]:
        """What `Share.take_step_again` needs."""
        part = child.work.part
        anew = {i - part.start: int(self._episodes[i]) + 1 for i in guilty}
        states: dict[str, Any] = {
            str(self._indices[i]): {
                "episode": int(self._episodes[i]),
                "actions": torch.from_numpy(np.array(self._histories[i][:-1], self.action_space.dtype)),
                "asked": self._asked[i],
                "scenes": 0,
            }
            for i in range(part.start, part.stop)
            if i not in guilty
        }
        return anew, states

    def _begin_episodes(self, environments: Iterable[int]) -> None:
        for i in environments:
            self._histories[i], self._asked[i] = [], []
            self._episodes[i] = self._memory.episodes[i]

    def _copy_to(self, observations: Tree) -> None:
        map_tree(np.copyto, observations, self._memory.row.observations)

    @property
    def has_expert(self) -> bool:
        return self._has_expert

    def expert_actions(self, actions: np.ndarray, available: np.ndarray) -> None:
        for asked, history in zip(self._asked, self._histories, strict=True):
            asked.append(len(history))
        for child, answer in zip(self._children, self._all("ask_experts"), strict=True):
            actions[child.work.part], available[child.work.part] = answer

    def advance_scenes(self, observations: Tree) -> list[Episode]:
        cut_off = [episode for own in self._all("new_scenes") for episode in own]
        self._begin_episodes(range(self.num_envs))
        self._copy_to(observations)
        return cut_off

    def state_dict(self) -> dict[str, Any]:
        return {index: state for own in self._all("save") for index, state in own.items()}

    def load_state_dict(self, state: dict[str, Any], observations: Tree) -> list[str]:
        steps = sum(len(own["actions"]) for own in state.values())
        found = self._all("restore", state, patience=steps * SECONDS_TO_REPLAY_A_STEP)
        problems = [problem for own in found for problem in own]
        self._begin_episodes(range(self.num_envs))
        for i, index in enumerate(self._indices):
            self._histories[i] = list(state[str(index)]["actions"].numpy())
            self._asked[i] = list(state[str(index)]["asked"])
        self._copy_to(observations)
        return problems

    def _all(self, method: str, argument: Any = None, patience: float = 0.0) -> list[Any]:
        """Have all children do the same, at the same time. patience: seconds beyond the time that a step may take."""
        for child in self._children:
            child.ask(method, argument)
        return [child.answer(patience) for child in self._children]

    def close(self) -> None:
        for child in self._children:
            child.close()


class _ChildLost(EnvironmentFailure):
    """A child died, or has not answered in time."""


class _Child:
    """A child process, seen from its parent. `others`: the children there are already, whose pipes are not its own."""

    def __init__(self, memory: SharedStep, work: Work, others: list[_Child], timeout: float) -> None:
        self.memory, self.work, self.others, self.timeout = memory, work, others, timeout
        self._start()

    def _start(self) -> None:
        self.channel = Channel()
        not_ours: list[Connection] = [other.channel.ours for other in self.others if other is not self]
        arguments = (self.channel, self.memory, self.work, [*not_ours, self.channel.ours])
        self.process: ForkProcess = fork.Process(target=serve, args=arguments, daemon=True)
        self.process.start()
        self.channel.theirs.close()
        # where nobody closes it, multiprocessing would end it with SIGTERM, which it ignores, and wait for it for ever
        weakref.finalize(self, _kill, self.process, os.getpid())

    def start_again(self) -> None:
        """A new child in place of this one, whatever has become of it."""
        self.close()
        self._start()

    def ask(self, method: str, argument: Any = None) -> None:
        """Have the child call a method of its share; `answer` gives what it returned."""
        with contextlib.suppress(OSError):  # a dead child is noticed by `answer`
            self.channel.ask(method, argument)

    def answer(self, patience: float = 0.0) -> Any:
        """What the last `ask` returned. Raises what the child raised, and `_ChildLost`."""
        late = time.monotonic() + self.timeout + patience
        try:
            answer = self.channel.answer(lambda: time.monotonic() > late or not self.process.is_alive())
        except (EOFError, ConnectionError) as error:
            self.process.join(1)
            raise self._lost() from error
        if answer is None:
            raise self._lost()
        kind, value = answer
        if kind == "error":
            raise value
        return value

    def _lost(self) -> _ChildLost:
        if self.process.is_alive():
            return _ChildLost(f"it has not answered for {self.timeout:g} s: an environment hangs")
        return _ChildLost(f"its process died with exit code {self.process.exitcode}")

    def close(self) -> None:
        """End the child, whatever it is doing."""
        self.channel.close()
        self.process.join(0.2)
        if self.process.is_alive():
            self.process.kill()  # SIGKILL: one that hangs or is stopped takes nothing less
            self.process.join()


def _kill(process: ForkProcess, parent: int) -> None:
    """End a child of this process; those of a parent are none of its business."""
    if os.getpid() == parent:
        process.kill()
