"""Shares of the environments as the process sees them that deals them out: a child's, and its own."""

from __future__ import annotations

import contextlib
import os
import time
import weakref
from multiprocessing.connection import Connection
from multiprocessing.context import ForkProcess
from typing import Any

from ...errors import EnvironmentFailure
from ..workers.signals import kill_group, lead_group
from .channel import Channel, fork
from .child import SECONDS_TO_CLOSE, Share, SharedStep, Work, serve


class ChildLost(EnvironmentFailure):
    """A child died, or has not answered in time."""

    def __init__(self, child: Child, message: str) -> None:
        super().__init__(message)
        self.child = child


class OwnShare:
    """A share that this process steps itself while its children step theirs."""

    def __init__(self, memory: SharedStep, work: Work) -> None:
        self.memory, self.work = memory, work
        self._share: Share | None = None
        self._asked: list[tuple[str, Any]] = []
        self._answers: list[Any] = []

    def ask(self, method: str, argument: Any = None) -> None:
        """`answer` will call this method: by then the children are at work."""
        self._asked.append((method, argument))

    def answer(self, patience: float = 0.0) -> Any:
        """What the method asked for first returns. All others are called as well, before children are waited for."""
        self._share = self._share or Share(self.memory, self.work)
        asked, self._asked = self._asked, []
        self._answers += [getattr(self._share, method)(argument) for method, argument in asked]
        return self._answers.pop(0)

    def close(self, patience: float = SECONDS_TO_CLOSE) -> None:
        """Close the environments."""
        if self._share is not None:
            self._share.close()


class Child:
    """A child process with its share.

    * siblings: all children there are, itself included once it has begun: their pipes are not its own.
    * timeout: seconds in which it must answer.
    * patience: seconds for which this process waits for it awake, see `Channel`.
    """

    def __init__(self, memory: SharedStep, work: Work, siblings: list[Child], timeout: float, patience: float) -> None:
        self.memory, self.work, self.siblings = memory, work, siblings
        self.timeout, self.patience = timeout, patience
        self._start()
        siblings.append(self)

    def _start(self) -> None:
        self.loss: ChildLost | None = None
        self.channel = Channel(self.patience)
        not_ours: list[Connection] = [child.channel.ours for child in self.siblings if child is not self]
        arguments = (self.channel, self.memory, self.work, [*not_ours, self.channel.ours])
        self.process: ForkProcess = fork.Process(target=serve, args=arguments, daemon=True)
        self.process.start()
        assert self.process.pid is not None
        lead_group(self.process.pid)
        self.channel.theirs.close()
        # where nobody closes it, multiprocessing would end it with SIGTERM, which it ignores, and wait for it for ever;
        # once and no more: its number may be another process's by then
        self._kill = weakref.finalize(self, _kill, self.process.pid, os.getpid())

    def start_again(self) -> None:
        """A new child in place of this one, which is lost."""
        self.close()
        self._start()

    def ask(self, method: str, argument: Any = None) -> None:
        """Have the child call a method of its share; `answer` gives what it returned. Two may wait to be answered."""
        with contextlib.suppress(OSError):  # a dead child is noticed by `answer`
            self.channel.ask(method, argument)

    def answer(self, patience: float = 0.0) -> Any:
        """What was asked for first. Raises what the child raised, and, until it is started again, `ChildLost`.

        patience: seconds that it may take beyond the timeout.
        """
        if self.loss is not None:
            raise self.loss
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

    def _lost(self) -> ChildLost:
        """What became of the child, whose process has ended then: it writes nothing more into the shared memory."""
        if self.process.is_alive():
            what = f"it has not answered for {self.timeout:g} s: an environment hangs"
        else:
            what = f"its process died with exit code {self.process.exitcode}"
        self._end()
        self.loss = ChildLost(self, what)
        return self.loss

    def close(self, patience: float = SECONDS_TO_CLOSE) -> None:
        """End the child, whatever it is doing; so many seconds later at the latest."""
        self.channel.close()
        self.process.join(patience)
        self._end()

    def _end(self) -> None:
        self._kill()
        self.process.join()


def _kill(child: int, parent: int) -> None:
    """Kill a child of this process and what it has started; those of a parent are none of its business."""
    if os.getpid() == parent:
        kill_group(child)
