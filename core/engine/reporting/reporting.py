"""Reporting: closed intervals go to `metrics.jsonl`, to TensorBoard, and to whoever else is told.

A sink that writes files saves how far it had written. On resume it cuts them back to there, so that no reader ever sees
a point of a branch that died; what is cut off is kept beside the file. A full disk never stops a training: what could
not be written is told once and tried again with the next interval.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Protocol

from ...metrics import LoggingPackage
from ..saving.checkpoint import Stateful
from ..saving.growing_file import GrowingFile, cut_back
from .tensorboard_sink import TensorBoardSink as TensorBoardSink


class MetricSink(Protocol):
    """Somebody who is told what happens. One with `state_dict` and `load_state_dict` is saved."""

    def write(self, package: LoggingPackage) -> None:
        """An interval has closed."""

    def note(self, tag: str, text: str, total_steps: int) -> None:
        """Something happened that is no number, e.g. a stage began."""

    def close(self) -> None:
        """Nothing more comes."""


class NoSink:
    """Tells nobody."""

    def write(self, package: LoggingPackage) -> None:
        """Nobody reads it."""

    def note(self, tag: str, text: str, total_steps: int) -> None:
        """Nobody reads it."""

    def close(self) -> None:
        """Nothing was open."""


class Sinks:
    """Several sinks as one. The state of each is saved under the name of its class."""

    def __init__(self, sinks: Sequence[MetricSink]) -> None:
        self.sinks = list(sinks)

    def write(self, package: LoggingPackage) -> None:
        """An interval has closed: all are told, in order."""
        for sink in self.sinks:
            sink.write(package)

    def note(self, tag: str, text: str, total_steps: int) -> None:
        """Something happened that is no number: all are told, in order."""
        for sink in self.sinks:
            sink.note(tag, text, total_steps)

    def close(self) -> None:
        """Nothing more comes."""
        for sink in self.sinks:
            sink.close()

    def state_dict(self) -> dict[str, Any]:
        """How far each sink has written."""
        return {name: sink.state_dict() for name, sink in self._stateful()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from there; {} means from the beginning."""
        for name, sink in self._stateful():
            sink.load_state_dict(state.get(name, {}))

    def _stateful(self) -> list[tuple[str, Stateful]]:
        return [(type(sink).__name__, sink) for sink in self.sinks if isinstance(sink, Stateful)]


class JsonLinesSink:
    """`metrics.jsonl`: each closed interval is one line, `LoggingPackage.to_json`. Notes are no intervals.

    * warn: told in words where the file cannot be written.
    """

    def __init__(self, path: Path, warn: Callable[[str], None] = lambda text: None) -> None:
        self.path = path
        self._file = GrowingFile(path, warn)

    def write(self, package: LoggingPackage) -> None:
        """One line more, readable at once."""
        self._file.add((json.dumps(package.to_json(), allow_nan=False) + "\n").encode())

    def note(self, tag: str, text: str, total_steps: int) -> None:
        """Not written: each line of the file is an interval."""

    def close(self) -> None:
        """Try once more what could not be written."""
        self._file.retry()

    def state_dict(self) -> dict[str, int]:
        """The size of the file, which is on the disk by then."""
        return {"offset": self._file.settled_size()}

    def load_state_dict(self, state: dict[str, int]) -> None:
        """Cut the file to the saved size; what came after it goes to `metrics.dropped.jsonl`."""
        dropped = self.path.with_name(f"{self.path.stem}.dropped{self.path.suffix}")
        cut_back(self.path, state.get("offset", 0), dropped, end=b"\n")
