"""Beside: something is computed in a forked process, from a snapshot of this one, which goes on meanwhile."""

from __future__ import annotations

import contextlib
import gc
import io
import os
import sys
import tempfile
import time
import warnings
from collections.abc import Callable
from typing import IO, NoReturn, TextIO

import numpy as np
import torch

from ..environments.channel import shared_array
from ..workers.signals import dying_soon_after_parent, kill_group, lead_group, leave_signals_to_parent

Work = Callable[[Callable[[], bool]], bytes]
"""What is computed: it is given `stop_requested`, asks it at each of its steps, and leaves where that says True."""

NAP = 2e-3
"""Seconds between two looks of a process that waits for its child."""


class Beside:
    """Bytes that a child computes. It is a fork, so it has everything as it was at this moment, and copies of it only
    where one of the two writes; nothing is pickled.

    * work: it is asked to stop if this process dies. Each time that it looks it shows that it does not hang.
    * timeout: seconds without a look after which it hangs.

    Where this process cannot be forked (it uses a GPU, or there is no more memory) there is no child, and no result.
    """

    def __init__(self, work: Work, timeout: float) -> None:
        self._timeout, self._parent = timeout, os.getpid()
        self._last_look = shared_array((1,), np.dtype(np.float64))
        self._last_look[0] = time.monotonic()
        self._file: IO[bytes] = io.BytesIO()
        self._child, self._has_result = 0, False
        with contextlib.suppress(OSError):
            self._file = tempfile.TemporaryFile()  # noqa: SIM115 closed below; a pipe would hold too little
            self._child = _fork(lambda: self._compute(work))

    @property
    def is_done(self) -> bool:
        """Whether `result` has nothing to wait for. A child that hangs is killed."""
        if self._child:
            ended, status = self._wait(os.WNOHANG)
            if ended:
                kill_group(self._child)
                self._child, self._has_result = 0, status == 0
            elif time.monotonic() - self._last_look[0] > self._timeout:
                self.close()
        return not self._child

    def result(self, stop_requested: Callable[[], bool]) -> bytes | None:
        """Wait for what the work gives; to be called once.

        None: there is no child, it raised, died or hung, or somebody asked to stop: it is dead then.
        """
        while not self.is_done:
            if stop_requested():
                self.close()
            else:
                time.sleep(NAP)
        if not self._has_result:
            self.close()
            return None
        with self._file:
            self._file.seek(0)
            return self._file.read()

    def close(self) -> None:
        """End the child, whatever it is doing; there is no result then."""
        if self._child:
            kill_group(self._child)
            self._wait(0)
        self._child = 0
        self._file.close()

    def _wait(self, options: int) -> tuple[int, int]:
        try:
            return os.waitpid(self._child, options)
        except ChildProcessError:  # somebody had the system do it for all children
            return self._child, 1

    def _compute(self, work: Work) -> None:
        self._file.write(work(self._look))
        self._file.flush()

    def _look(self) -> bool:
        self._last_look[0] = time.monotonic()
        return os.getppid() != self._parent


def _fork(action: Callable[[], None]) -> int:
    """The process id of a child that does this and ends, with 0 if nothing was raised; 0 where there can be none.

    Raises `OSError` where there is no room for another process.
    """
    if not hasattr(os, "fork") or torch.cuda.is_initialized():
        return 0
    parent, tie = os.getpid(), dying_soon_after_parent()
    with warnings.catch_warnings():
        # of locks that other threads hold at this moment; the child takes care not to need them
        warnings.simplefilter("ignore", DeprecationWarning)
        child = os.fork()
    if child == 0:
        _be_a_child(action, parent, tie)
    lead_group(child)
    return child


def _be_a_child(action: Callable[[], None], parent: int, tie: Callable[[], None]) -> NoReturn:
    status = 1
    try:
        lead_group(0)  # the parent does it too: neither of them waits for the other
        leave_signals_to_parent()
        tie()
        if os.getppid() == parent:
            gc.freeze()  # looking through what it has from its parent would copy all of it
            torch.set_num_threads(1)  # the parent's other threads are not here, and would be waited for for ever
            sys.stdout, sys.stderr = _anew(1), _anew(2)
            action()
            status = 0
    finally:
        os._exit(status)  # whatever happened: what lies on the stack, and `atexit`, is the parent's


def _anew(descriptor: int) -> TextIO:
    """A stream that leads where it led before: a thread may have held the lock of the old one at the fork."""
    return open(descriptor, "w", buffering=1, errors="backslashreplace", closefd=False)
