"""A child process that steps a share of the environments, as it is seen from inside."""

from __future__ import annotations

import contextlib
import gc
import os
import signal
from bdb import BdbQuit
from collections.abc import Callable, Sequence
from multiprocessing.connection import Connection
from typing import Any, NamedTuple, NoReturn

import gymnasium
import numpy as np

from ...errors import EnvironmentFailure, TrainctlError, UsageError
from ...tree import map_tree
from ..workers.signals import dying_soon_after_parent, leave_signals_to_parent
from .channel import Channel, shared_array
from .environments import EpisodeEnd, Row
from .serial import SerialEnvironments, in_words
from .spaces import action_layout, observation_layout

SECONDS_TO_CLOSE = 5
"""How long environments may take to close; who takes longer is killed."""


class SharedStep:
    """One step of all environments, in memory that children share with their parent.

    * row: what `Environments.step` writes; actions: what it is given.
    * stepping: for each environment, whether it (or its expert) is at work at this moment: so a dead child's guilt is
      known.
    * episodes: for each environment, the number of its running episode.
    * expert_actions, has_expert_action: what the experts say.
    """

    def __init__(self, example: SerialEnvironments, num_envs: int) -> None:
        def layout(leaf: np.ndarray) -> np.ndarray:
            return shared_array((num_envs, *leaf.shape), leaf.dtype)

        space = example.action_space
        terminated, truncated, valid = (shared_array((num_envs,), np.dtype(bool)) for _ in range(3))
        observations = map_tree(layout, observation_layout(example.observation_space))
        self.row = Row(shared_array((num_envs,), np.dtype(np.float32)), terminated, truncated, valid, observations)
        self.actions = shared_array((num_envs, *(space.shape or ())), np.dtype(space.dtype))
        self.stepping = shared_array((num_envs,), np.dtype(bool))
        self.episodes = shared_array((num_envs,), np.dtype(np.int64))
        self.expert_actions: np.ndarray = layout(action_layout(space))
        self.has_expert_action = shared_array((num_envs,), np.dtype(bool))

    def begin(self, actions: np.ndarray) -> None:
        """The actions of the next step are here; its flags are as `Row` wants them beforehand."""
        np.copyto(self.actions, actions)
        self.row.terminated.fill(False)
        self.row.truncated.fill(False)
        self.row.valid.fill(True)


class Work(NamedTuple):
    """A share of the environments: where it lies in the group, and what `SerialEnvironments` is built from."""

    part: slice
    make: Callable[[], gymnasium.Env[Any, Any]]
    indices: Sequence[int]
    seed: int
    purpose: str


def serve(channel: Channel, memory: SharedStep, work: Work, not_ours: Sequence[Connection]) -> None:
    """Do what is asked, (method, argument) -> ("done", result) or ("error", exception), until the channel is closed."""
    leave_signals_to_parent()  # which saves and then closes us
    dying_soon_after_parent()()
    gc.freeze()  # looking through what we have from our parent would copy all of it
    for other in not_ours:
        other.close()  # kept open here, nobody would notice the parent's death
    share = None
    while True:
        try:
            method, argument = channel.asked()
        except (EOFError, OSError):
            _end(share)  # the parent closed it, or is gone
        try:
            share = share or Share(memory, work)
            answer: Any = ("done", getattr(share, method)(argument))
        except TrainctlError as error:
            answer = ("error", error)
        except BdbQuit:
            hint = "train in one process: Experiment(environment_processes=0)"
            answer = ("error", UsageError("breakpoint() hears nobody in an environment's own process", hint))
        except Exception as error:
            answer = ("error", EnvironmentFailure(f"an environment failed: {in_words(error)}"))
        with contextlib.suppress(OSError):  # who closed the channel does not read it
            channel.reply(*answer)


def _end(share: Share | None) -> NoReturn:
    """Close the environments, which may have started processes of their own, and end this process."""
    signal.signal(signal.SIGALRM, signal.SIG_DFL)
    signal.alarm(SECONDS_TO_CLOSE)  # whatever hangs by then: this signal ends the process
    for environment in share.environments if share else ():
        with contextlib.suppress(Exception):  # nobody is left to be told
            environment.close()
    os._exit(0)


class Share(SerialEnvironments):
    """The environments of one child. Each method takes one argument, and writes into the shared memory."""

    def __init__(self, memory: SharedStep, work: Work) -> None:
        super().__init__(work.make, work.indices, work.seed, work.purpose)
        self.row = memory.row.part(work.part)
        self.actions = memory.actions[work.part]
        self.stepping, self.episodes = memory.stepping[work.part], memory.episodes[work.part]
        self.experts = memory.expert_actions[work.part], memory.has_expert_action[work.part]

    def begin(self, _: None) -> None:
        """Reset all."""
        self.reset(self.row.observations)
        self._note_episodes()

    def take_step(self, _: None) -> list[EpisodeEnd]:
        """One step of all."""
        # the actions are kept for replays: their memory will hold the next ones
        ends = self.step(self.actions.copy(), self.row)
        if ends:
            self._note_episodes()
        return ends

    def take_step_again(self, lost: tuple[int, dict[int, int], dict[str, Any]]) -> list[EpisodeEnd]:
        """The step in which the child before this one was lost.

        lost: (how many scenes were asked for, environments of this share that are to begin a new episode instead, with
        its number; the others' states before the step).
        """
        scenes, anew, states = lost
        ends: list[EpisodeEnd] = []
        actions = self.actions.copy()
        for i, environment in enumerate(self.environments):
            if i in anew:
                environment.advance_to(scenes)
                environment.episode = anew[i] - 1
                self.stepping[i] = True  # should its reset be what kills this process
                end = self._followed(EpisodeEnd(i, None, None), self.row.observations, environment.reset)
                self.stepping[i] = False
                ends += [end] if end.failures else []
            else:
                environment.load_state_dict(states[str(environment.index)])
                ends += self._step_one(i, actions[i], self.row)
        self._note_episodes()
        return ends

    def experts_say(self, _: None) -> list[EpisodeEnd]:
        """Ask the experts. No episode ends by that."""
        self.expert_actions(*self.experts)
        return []

    def new_scenes(self, _: None) -> Any:
        """New scenes, and all reset. Returns the episodes cut off."""
        cut_off = self.advance_scenes(self.row.observations)
        self._note_episodes()
        return cut_off

    def save(self, _: None) -> dict[str, Any]:
        """Where the environments are."""
        return self.state_dict()

    def restore(self, state: dict[str, Any]) -> list[str]:
        """Bring them back."""
        problems = self.load_state_dict(state, self.row.observations)
        self._note_episodes()
        return problems

    def _step_one(self, i: int, action: Any, row: Row) -> Sequence[EpisodeEnd]:
        self.stepping[i] = True
        ends = super()._step_one(i, action, row)
        self.stepping[i] = False
        return ends

    def _expert_action(self, i: int) -> np.ndarray | None:
        self.stepping[i] = True
        action = super()._expert_action(i)
        self.stepping[i] = False
        return action

    def _note_episodes(self) -> None:
        self.episodes[:] = [environment.episode for environment in self.environments]
