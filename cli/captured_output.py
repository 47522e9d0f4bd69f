"""Everything that is written to the terminal while a live display owns it."""

from __future__ import annotations

import os
import select
import sys
import threading
from collections.abc import Callable

from .output import lasting


class CapturedOutput:
    """Takes what this process and its children write to stdout and stderr, as far as these lead to a terminal.

    File descriptors are redirected, so that prints of environment processes and of C libraries are taken as well. What
    leads to a file or a pipe goes there undisturbed.

    * show: called with each line, from a thread.
    * terminal: a file that leads to where stderr led before.
    """

    def __init__(self, show: Callable[[str], None]) -> None:
        _flush()
        self._show = show
        self._originals = {descriptor: os.dup(descriptor) for descriptor in (1, 2) if os.isatty(descriptor)}
        self.terminal = lasting(
            os.fdopen(os.dup(self._originals[2]), "w", encoding=sys.stderr.encoding, errors="backslashreplace")
        )
        self._reading, writing = os.pipe()
        for descriptor in self._originals:
            os.dup2(writing, descriptor)
        os.close(writing)
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._pass_on, name="captured output", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Show what is still on its way; from now on everything goes where it went before. Twice is as good as once."""
        if self._ended.is_set():
            return
        _flush()
        for descriptor, original in self._originals.items():
            os.dup2(original, descriptor)
            os.close(original)
        self._ended.set()
        self._thread.join()
        os.close(self._reading)
        self.terminal.flush()

    def _pass_on(self) -> None:
        rest = b""
        while self._has_data():
            data = os.read(self._reading, 65536)
            if not data:
                break
            *lines, rest = (rest + data).split(b"\n")
            for line in lines:
                self._show(line.decode(errors="replace").rstrip("\r"))
        if rest:
            self._show(rest.decode(errors="replace"))

    def _has_data(self) -> bool:
        """Wait for data. False once it has ended and nothing is left: a child may hold its end of the pipe for ever."""
        while not select.select([self._reading], [], [], 0.1)[0]:
            if self._ended.is_set():
                return False
        return True


def _flush() -> None:
    sys.stdout.flush()
    sys.stderr.flush()
