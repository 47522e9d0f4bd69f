"""Channel: requests from a parent to a child process and its answers; the most frequent ones need no message."""

from __future__ import annotations

import mmap
import multiprocessing
import os
import time
from collections.abc import Callable
from typing import Any

import numpy as np

fork = multiprocessing.get_context("fork")

PATIENCE = 1e-4
"""Seconds for which a waiting process stays awake: whoever sleeps wakes late, by some 50 microseconds. It does not
offer its core to others meanwhile (`sched_yield`): on a busy machine each offer costs it a slice of milliseconds."""

NAP = 0.05
"""Seconds after which a sleeping process makes sure that there still is somebody to wait for."""


class Gate:
    """A counter that one process raises, and that another waits for and lowers.

    patience: seconds for which the waiting process stays awake, see `PATIENCE`.
    """

    def __init__(self, patience: float) -> None:
        self._count, self._patience = fork.Semaphore(0), patience

    def open(self) -> None:
        """Let the other process pass, once."""
        self._count.release()

    def wait(self, in_vain: Callable[[], bool]) -> bool:
        """Pass as soon as the gate is open. False: it stayed closed, and `in_vain`, asked now and then, said True."""
        if self._opens_soon():
            return True
        while not self._count.acquire(True, NAP):
            if in_vain():
                return self._count.acquire(False)  # it may have been opened in between
        return True

    def _opens_soon(self) -> bool:
        passes, until = self._count.acquire, time.perf_counter() + self._patience
        while not passes(False):
            if time.perf_counter() >= until:
                return False
        return True


class Channel:
    """Between a parent (`ask`, `answer`) and its child (`asked`, `reply`); two requests may wait for their answers.

    A request for one of the methods `WITHOUT_MESSAGE` and an answer that is an empty list are an open gate and nothing
    more; what all others hold is in the pipe.

    patience: of the parent, in seconds; 0 where children need all cores: awake it would crowd two of them onto one.
    """

    WITHOUT_MESSAGE = ("take_step", "experts_say")
    _IN_PIPE = len(WITHOUT_MESSAGE)

    def __init__(self, patience: float = PATIENCE) -> None:
        self.ours, self.theirs = fork.Pipe()
        self._asked, self._answered = Gate(PATIENCE), Gate(patience)
        # of the last two: an index of `WITHOUT_MESSAGE`, or `_IN_PIPE`
        self._requests, self._answers = (shared_array((2,), np.dtype(np.uint8)) for _ in range(2))
        self._closed = shared_array((1,), np.dtype(bool))  # of pipes that another fork has as well nobody sees the end
        self._sent = self._heard = 0  # by this side: each process counts for itself
        self._parent = os.getpid()

    def ask(self, method: str, argument: Any) -> None:
        """Have the child call a method with an argument. Raises OSError if it is dead."""
        short = self.WITHOUT_MESSAGE
        self._requests[self._sent % 2] = short.index(method) if method in short else self._IN_PIPE
        self._sent += 1
        self._asked.open()  # first, so that somebody empties the pipe
        if method not in short:
            self.ours.send((method, argument))

    def answer(self, in_vain: Callable[[], bool]) -> tuple[str, Any] | None:
        """What the child replied to the first request that has no answer yet; None if it has not, see `Gate.wait`.

        Raises EOFError or OSError if it died.
        """
        if not self._answered.wait(in_vain):
            return None
        is_in_pipe = self._answers[self._heard % 2] == self._IN_PIPE
        self._heard += 1
        kind, value = self.ours.recv() if is_in_pipe else ("done", [])
        return kind, value

    def asked(self) -> tuple[str, Any]:
        """The next request, however long it takes. Raises EOFError if the parent is gone, or closed the channel."""
        if not self._asked.wait(lambda: os.getppid() != self._parent) or self._closed[0]:
            raise EOFError
        request = self._requests[self._heard % 2]
        self._heard += 1
        method, argument = self.theirs.recv() if request == self._IN_PIPE else (self.WITHOUT_MESSAGE[request], None)
        return method, argument

    def reply(self, kind: str, value: Any) -> None:
        """Answer the request."""
        is_in_pipe = kind != "done" or value != []
        self._answers[self._sent % 2] = self._IN_PIPE if is_in_pipe else 0
        self._sent += 1
        self._answered.open()
        if is_in_pipe:
            self.theirs.send((kind, value))

    def close(self) -> None:
        """The parent needs nothing more: `asked` raises EOFError."""
        self._closed[0] = True
        self._asked.open()
        self.ours.close()


def shared_array(shape: tuple[int, ...], dtype: np.dtype[Any]) -> np.ndarray:
    """An array of zeros in anonymous memory that forked children share: nothing to name, nothing left behind."""
    count = int(np.prod(shape))
    return np.frombuffer(mmap.mmap(-1, max(count * dtype.itemsize, 1)), dtype=dtype, count=count).reshape(shape)
