"""Displays of a training that need no terminal: warnings only, or one line for each interval."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .text import number

if TYPE_CHECKING:
    from ..core.engine.progress import Progress
    from ..core.metrics import LoggingPackage

FIRST_TAGS = ("episode/return", "episode/length", "episode/success")


def can_draw(quiet: bool, plain: bool) -> bool:
    """Whether stderr leads to a terminal that a live display can draw on, and nobody has asked for less."""
    return not (quiet or plain) and sys.stderr.isatty() and os.environ.get("TERM", "dumb") not in ("dumb", "unknown")


class QuietDisplay:
    """Shows warnings and nothing else.

    * directory: of the run; None before one has begun.
    """

    directory: Path | None = None

    def begin(self, directory: Path, description: dict[str, Any], progress: Progress, message: str) -> None:
        """A training begins or goes on."""
        self.directory = directory

    def write(self, package: LoggingPackage) -> None:
        """An interval has been closed."""

    def note(self, tag: str, text: str, total_steps: int) -> None:
        """Something has happened: a stage begins, a stage has ended."""

    def warn(self, text: str) -> None:
        """Something the user should know, while the training goes on."""
        print(f"warning: {text}", file=sys.stderr, flush=True)

    def close(self) -> None:
        """Nothing follows."""


class PlainDisplay(QuietDisplay):
    """One line for each closed interval and for each note: for log files, and for whoever likes it so."""

    def begin(self, directory: Path, description: dict[str, Any], progress: Progress, message: str) -> None:
        super().begin(directory, description, progress, message)
        self._line(f"{directory}: {message}")

    def write(self, package: LoggingPackage) -> None:
        if package.should_log:
            self._line(interval_line(package))

    def note(self, tag: str, text: str, total_steps: int) -> None:
        self._line(text)

    def _line(self, text: str) -> None:
        print(text, file=sys.stderr, flush=True)


def interval_line(package: LoggingPackage) -> str:
    """Steps, stage, episodes, losses and speed of an interval in one line."""
    means = package.means
    speed = means.get("speed/steps_per_second")
    words = [f"{package.total_steps:>12,}", package.stage, *([] if package.kind == "train" else [package.kind])]
    words += [f"{_short(tag)} {number(means[tag])}" for tag in main_tags(means)]
    words += [] if speed is None else [f"{speed:,.0f} steps/s"]
    return "  ".join(words)


def main_tags(means: Mapping[str, float]) -> list[str]:
    """The tags worth a place in a line: return, length, success, the other metrics of the episodes, the losses."""
    first = [tag for tag in FIRST_TAGS if tag in means]
    groups = ("episode/", "valid/", "loss/", "off_policy/")
    return first + [tag for group in groups for tag in means if tag.startswith(group) and tag not in first]


def _short(tag: str) -> str:
    return tag.removeprefix("episode/").removeprefix("loss/").removeprefix("valid/")
