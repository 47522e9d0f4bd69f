"""ProcessEnvironments: several environments in each of a few processes, over shared memory."""

from __future__ import annotations

import contextlib
import ctypes
import itertools
import mmap
import multiprocessing
import os
import signal
import traceback
from collections.abc import Callable, Iterator, Sequence
from multiprocessing.connection import Connection
from multiprocessing.context import ForkProcess
from typing import Any

import gymnasium
import numpy as np

from ...errors import EnvironmentFailure, TrainctlError
from ...shares import evenly_distribute_count_into_bins
from ...tree import Tree, map_tree
from ..signals import SIGNALS
from .environments import Environments, Episode, EpisodeEnd, Row
from .serial import SerialEnvironments
from .spaces import action_layout, allocate, observation_layout

_fork = multiprocessing.get_context("fork")


class ProcessEnvironments(Environments):
    """Environments dealt to this process and to `processes - 1` children; all step at the same time.

    The result is the same, bit by bit, as that of `SerialEnvironments`: every environment has its own seeds. This
    process steps its share while the children step theirs, so that `processes` cores are busy.

    * timeout: seconds that a child may take for one step of its environments before it counts as hung.
    """

    def __init__(
        self,
        make: Callable[[], gymnasium.Env[Any, Any]],
        indices: Sequence[int],
        seed: int,
        purpose: str,
        processes: int,
        timeout: float = 120.0,
    ) -> None:
        sizes = evenly_distribute_count_into_bins(len(indices), processes)
        starts = np.cumsum([0, *sizes]).tolist()
        self.num_envs = len(indices)
        # the smallest share is this process's own: it also acts
        self._own = slice(starts[-2], starts[-1])
        self._serial = SerialEnvironments(make, indices[self._own], seed, purpose)
        self.observation_space, self.action_space = self._serial.observation_space, self._serial.action_space
        self._memory = _SharedStep(self._serial, self.num_envs)
        self._children: list[_Child] = []
        for start, end in itertools.pairwise(starts[:-1]):
            arguments = (make, indices[start:end], seed, purpose)
            others = [child.connection for child in self._children]
            self._children.append(_Child(self._memory, slice(start, end), arguments, others, timeout))

    def reset(self, observations: Tree) -> None:
        for child in self._children:
            child.ask("reset")
        self._serial.reset(self._memory.part(self._own).observations)
        for child in self._children:
            child.answer()
        self._copy_to(observations)

    def step(self, actions: np.ndarray, row: Row) -> list[EpisodeEnd]:
        memory = self._memory
        memory.begin(actions)
        for child in self._children:
            child.ask("step")
        own = self._serial.step(actions[self._own], memory.part(self._own))
        ends = [end for child in self._children for end in child.step_answer()]
        row.rewards[:], row.valid[:] = memory.row.rewards, memory.row.valid
        row.terminated[:], row.truncated[:] = memory.row.terminated, memory.row.truncated
        self._copy_to(row.observations)
        return ends + [end._replace(environment=end.environment + self._own.start) for end in own]

    def _copy_to(self, observations: Tree) -> None:
        map_tree(np.copyto, observations, self._memory.row.observations)

    def expert_actions(self, actions: np.ndarray, available: np.ndarray) -> None:
        for child in self._children:
            child.ask("expert_actions")
        self._serial.expert_actions(actions[self._own], available[self._own])
        for child in self._children:
            actions[child.part], available[child.part] = child.answer()

    def advance_scenes(self, observations: Tree) -> list[Episode]:
        for child in self._children:
            child.ask("advance_scenes")
        own = self._serial.advance_scenes(self._memory.part(self._own).observations)
        cut_off = [episode for child in self._children for episode in child.answer()]
        self._copy_to(observations)
        return cut_off + own

    def state_dict(self) -> dict[str, Any]:
        for child in self._children:
            child.ask("state_dict")
        state = self._serial.state_dict()
        for child in self._children:
            state |= child.answer()
        return state

    def load_state_dict(self, state: dict[str, Any], observations: Tree) -> list[str]:
        for child in self._children:
            child.ask("load_state_dict", state)
        problems = self._serial.load_state_dict(state, self._memory.part(self._own).observations)
        for child in self._children:
            problems += child.answer()
        self._copy_to(observations)
        return problems

    def close(self) -> None:
        for child in self._children:
            child.close()
        self._serial.close()


class _SharedStep:
    """One step of all environments in memory that the children share."""

    def __init__(self, example: SerialEnvironments, num_envs: int) -> None:
        action = allocate(action_layout(example.action_space), 1)
        observations = map_tree(
            lambda leaf: _shared((num_envs, *leaf.shape), leaf.dtype), observation_layout(example.observation_space)
        )
        terminated, truncated, valid = (_shared((num_envs,), np.dtype(bool)) for _ in range(3))
        self.row = Row(_shared((num_envs,), np.dtype(np.float32)), terminated, truncated, valid, observations)
        space = example.action_space
        dtype = space.dtype or action.dtype
        self.actions = _shared((num_envs, *(space.shape or ())), np.dtype(dtype))

    def begin(self, actions: np.ndarray) -> None:
        """The actions of the next step are here; its flags are as `Row` wants them beforehand."""
        np.copyto(self.actions, actions)
        self.row.terminated.fill(False)
        self.row.truncated.fill(False)
        self.row.valid.fill(True)

    def part(self, part: slice) -> Row:
        """The rows of some of the environments."""
        rewards, terminated, truncated, valid, observations = self.row
        own = map_tree(lambda leaf: leaf[part], observations)
        return Row(rewards[part], terminated[part], truncated[part], valid[part], own)


def _shared(shape: tuple[int, ...], dtype: np.dtype[Any]) -> np.ndarray:
    """An array of zeros in anonymous memory that forked children share: nothing to name, nothing left behind."""
    size = max(int(np.prod(shape)) * dtype.itemsize, 1)
    return np.frombuffer(mmap.mmap(-1, size), dtype=dtype, count=int(np.prod(shape))).reshape(shape)


class _Child:
    """A child process that steps a share of the environments, seen from its parent."""

    def __init__(
        self, memory: _SharedStep, part: slice, arguments: Any, others: Sequence[Connection], timeout: float
    ) -> None:
        self.part, self.timeout = part, timeout
        self.connection, theirs = _fork.Pipe()
        self.process: ForkProcess = _fork.Process(
            target=_serve, args=(theirs, memory, part, arguments, [self.connection, *others]), daemon=True
        )
        self.process.start()
        theirs.close()

    def ask(self, method: str, *arguments: Any) -> None:
        """Have the child call a method; `answer` gives what it returned."""
        with self._lost_child_is_named():
            self.connection.send((method, arguments))

    def answer(self) -> Any:
        """What the last `ask` returned. Raises what the child raised."""
        kind, value = self._receive()
        if kind == "error":
            raise value
        return value

    def step_answer(self) -> list[EpisodeEnd]:
        """What `ask("step")` returned: the episodes that ended, with indices of the whole group."""
        start = self.part.start
        ends: list[EpisodeEnd] = self.answer()
        return [end._replace(environment=end.environment + start) for end in ends]

    def _receive(self) -> tuple[str, Any]:
        with self._lost_child_is_named():
            if not self.connection.poll(self.timeout):
                raise EnvironmentFailure(
                    f"environments {self.part.start} to {self.part.stop - 1} have not answered for {self.timeout:g} s",
                    "an environment hangs: its process is stopped",
                )
            received: tuple[str, Any] = self.connection.recv()
            return received

    @contextlib.contextmanager
    def _lost_child_is_named(self) -> Iterator[None]:
        try:
            yield
        except (EOFError, BrokenPipeError, ConnectionResetError) as error:
            self.process.join(1)
            raise EnvironmentFailure(
                f"the process of environments {self.part.start} to {self.part.stop - 1} died "
                f"(exit code {self.process.exitcode})",
                "an environment crashed it; its messages are above",
            ) from error

    def close(self) -> None:
        """End the child, whatever it is doing."""
        self.connection.close()
        self.process.join(1)
        # SIGKILL: a stopped or hanging child would not take anything less
        if self.process.is_alive():
            self.process.kill()
            self.process.join()


def _serve(
    connection: Connection, memory: _SharedStep, part: slice, arguments: Any, not_ours: Sequence[Connection]
) -> None:
    """The child's life: do what is asked until the parent closes the pipe or dies."""
    for number in SIGNALS:
        signal.signal(number, signal.SIG_IGN)  # the parent saves and then closes us; the group's signal is not for us
    _die_with_parent()
    for other in not_ours:
        other.close()  # else we would keep them open, and nobody would notice the parent's death
    row, actions = memory.part(part), memory.actions[part]
    environments: SerialEnvironments | None = None
    while True:
        try:
            method, given = connection.recv()
        except (EOFError, OSError):
            os._exit(0)  # the parent closed the pipe, or is gone
        try:
            environments = environments or SerialEnvironments(*arguments)
            answer = "done", _call(environments, method, given, row, actions)
        except TrainctlError as error:
            answer = "error", error
        except Exception as error:
            text = f"an environment raised {type(error).__name__}: {error}"
            answer = "error", EnvironmentFailure(text, _innermost_line(error))
        connection.send(answer)


def _innermost_line(error: Exception) -> str:
    frame = traceback.extract_tb(error.__traceback__)[-1]
    return f"{frame.filename}:{frame.lineno}   {frame.line}"


def _call(environments: SerialEnvironments, method: str, given: Any, row: Row, actions: np.ndarray) -> Any:
    if method == "step":
        return environments.step(actions, row)
    if method in ("reset", "advance_scenes"):
        return getattr(environments, method)(row.observations)
    if method == "load_state_dict":
        return environments.load_state_dict(given[0], row.observations)
    if method == "expert_actions":
        actions = allocate(action_layout(environments.action_space), environments.num_envs)
        available = np.zeros(environments.num_envs, bool)
        environments.expert_actions(actions, available)
        return actions, available
    return getattr(environments, method)()


def _die_with_parent() -> None:
    """Ask Linux to kill this process when its parent dies, even by kill -9; elsewhere the closed pipe must do."""
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).prctl(1, signal.SIGKILL)
