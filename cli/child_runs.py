"""Runs in processes of their own, several at a time: those of `run --seeds` and of `sweep`."""

from __future__ import annotations

import contextlib
import json
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

from ..core.engine.workers.signals import heeded_signals, signalled_with_parent

STOPPED = {75, 130}
"""Exit codes of a run that was asked to save and leave."""


class Ended(NamedTuple):
    """How a child ended.

    * code: its exit code; negative: the signal that killed it. outcome: the document it printed; None if none.
    """

    code: int
    outcome: dict[str, Any] | None


class ChildRuns:
    """The children that train at this moment, each under a number.

    * is_stopping: a signal has asked to save and leave. It was passed on to all children; no other should be begun.
    """

    def __init__(self) -> None:
        self.running: dict[int, subprocess.Popen[str]] = {}
        self.is_stopping = False
        self.signal = 0

    def start(self, number: int, words: Sequence[str]) -> None:
        """Begin `trainctl WORDS --quiet --json`. Should this process be killed, the child saves and leaves."""
        command = [sys.executable, "-m", "trainctl", *words, "--quiet", "--json"]
        self.running[number] = subprocess.Popen(
            command, stdout=subprocess.PIPE, text=True, preexec_fn=signalled_with_parent(signal.SIGTERM)
        )

    def stop(self, number: int) -> None:
        """Ask one child to save and leave."""
        with contextlib.suppress(ProcessLookupError):
            self.running[number].send_signal(signal.SIGTERM)

    def stop_all(self) -> None:
        """Ask all to save and leave, and wait until they have."""
        for number in self.running:
            self.stop(number)
        for process in self.running.values():
            process.communicate()

    def ended(self) -> Iterator[tuple[int, Ended]]:
        """Those that have ended since the last time, by their number."""
        for number in [number for number, process in self.running.items() if process.poll() is not None]:
            process = self.running.pop(number)
            out, _ = process.communicate()
            outcome = None
            with contextlib.suppress(ValueError):  # one that failed prints nothing
                outcome = json.loads(out)
            yield number, Ended(process.returncode, outcome)

    @contextlib.contextmanager
    def passing_signals_on(self) -> Iterator[None]:
        """Within this context a signal that asks to save and leave reaches all children."""

        def pass_on(number: int, frame: object) -> None:
            self.is_stopping, self.signal = True, number
            for process in self.running.values():
                with contextlib.suppress(ProcessLookupError):
                    process.send_signal(number)

        def stop(number: int, frame: object) -> None:
            self.is_stopping, self.signal = True, number  # a terminal has sent it to all of us

        of_terminals = (signal.SIGINT, signal.SIGHUP)
        wanted = {number: stop if number in of_terminals else pass_on for number in heeded_signals()}
        before = {number: signal.signal(number, handler) for number, handler in wanted.items()}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)
