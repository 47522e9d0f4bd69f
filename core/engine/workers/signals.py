"""Signals that ask the training to save and leave. A handler only raises a flag."""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import time
from collections.abc import Callable, Iterator
from types import FrameType

SIGNALS = (signal.SIGTERM, signal.SIGUSR1, signal.SIGINT, signal.SIGHUP)
"""SIGHUP: the terminal is gone."""


SECONDS_AFTER_PARENT = signal.SIGUSR2
"""Twelve, on Linux."""

_STOPPING = b"stopping: this rollout is finished and saved first; once more, and it ends at once\n"
_SHOW_CURSOR = b"\x1b[?25h\n"
"""For a terminal, whose cursor a live display has hidden."""


class StopRequest:
    """Whether somebody has asked this process to stop, and with which signal.

    echo_seconds: a signal that follows within this time is the same request once more: a launcher hands on to its
    workers what the terminal has sent to all.
    """

    def __init__(self, echo_seconds: float = 0.0) -> None:
        self.signal: signal.Signals | None = None
        self.echo_seconds = echo_seconds
        self._since = 0.0

    @property
    def requested(self) -> bool:
        """Whether the training should save and leave."""
        return self.signal is not None

    @property
    def status(self) -> str:
        """ "interrupted" for Ctrl-C, "preempted" for the others."""
        return "interrupted" if self.signal == signal.SIGINT else "preempted"

    @contextlib.contextmanager
    def listening(self) -> Iterator[None]:
        """Within this context the signals raise the flag; a second signal ends the process at once."""
        before = {number: signal.signal(number, self._note) for number in heeded_signals()}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def _note(self, number: int, frame: FrameType | None) -> None:
        now = time.monotonic()
        if self.signal is None:
            self.signal, self._since = signal.Signals(number), now
            if self.echo_seconds == 0:  # of several workers the launcher was asked
                with contextlib.suppress(OSError):
                    os.write(2, _STOPPING)
        elif now - self._since > self.echo_seconds and number != signal.SIGHUP:  # which comes from shell and kernel
            with contextlib.suppress(OSError), open("/dev/tty", "wb", 0) as terminal:
                terminal.write(_SHOW_CURSOR)
            os._exit(128 + number)


def heeded_signals() -> list[signal.Signals]:
    """Those of `SIGNALS` that are for this process: under `nohup` the terminal may go."""
    is_under_nohup = signal.getsignal(signal.SIGHUP) == signal.SIG_IGN
    return [number for number in SIGNALS if not (number == signal.SIGHUP and is_under_nohup)]


def leave_signals_to_parent() -> None:
    """Go on whatever signal this process is sent: the parent will end it.

    The programs that it starts are spared Ctrl-C as well. SIGTERM still ends them: with that an environment may close
    its simulator.
    """
    for number in (signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)  # programs inherit what is ignored, not what is handled
    for number in (signal.SIGTERM, signal.SIGUSR1):
        signal.signal(number, lambda number, frame: None)
        signal.siginterrupt(number, False)  # whatever waits in the kernel goes on


def lead_group(child: int) -> None:
    """From now on a child of this process (0: itself) and the programs that it starts are one group, for `kill_group`.

    A terminal's Ctrl-C is not for that group.
    """
    with contextlib.suppress(ProcessLookupError):  # it has died already
        os.setpgid(child, child)


def kill_group(child: int) -> None:
    """Kill a child, if it lives, and whatever is left of the programs that it has started: hanging or stopped."""
    with contextlib.suppress(ProcessLookupError, PermissionError):  # nobody is left; as macOS says it
        os.killpg(child, signal.SIGKILL)


def die_with_parent() -> None:
    """Ask Linux to kill this process when its parent dies, even by kill -9; elsewhere the closed pipe must do."""
    signalled_with_parent(signal.SIGKILL)()


def dying_soon_after_parent() -> Callable[[], None]:
    """What asks Linux to kill the process that calls it `SECONDS_AFTER_PARENT` after its parent has died: time to close
    what it has.

    The handler is libc's own `alarm`, which takes the number of the signal for its seconds. It needs no Python, so code
    that hangs cannot keep it away.
    """
    warn = signalled_with_parent(SECONDS_AFTER_PARENT)
    try:
        libc = ctypes.CDLL(None)
        alarm = ctypes.cast(libc.alarm, ctypes.c_void_p)
    except (OSError, AttributeError):
        return warn

    def tie() -> None:
        libc.signal(SECONDS_AFTER_PARENT, alarm)
        warn()

    return tie


def signalled_with_parent(number: int) -> Callable[[], None]:
    """What asks Linux to send this signal to the process that calls it when its parent dies.

    A child may call it between fork and exec, when nothing should be loaded any more.
    """
    try:
        prctl = ctypes.CDLL(None).prctl
    except (OSError, AttributeError):
        return lambda: None
    return lambda: prctl(1, number) and None
