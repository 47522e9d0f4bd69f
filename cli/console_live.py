"""The live display of a training: stages, means of the last interval, and where the time goes."""

from __future__ import annotations

import sys
import time
from collections import defaultdict, deque
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from rich.columns import Columns
from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from .displays import QuietDisplay
from .text import duration, number, sparkline

if TYPE_CHECKING:
    from ..core.engine.progress import Progress
    from ..core.metrics import LoggingPackage

_REFRESHES_PER_SECOND = 4
_MOST_STAGES = 8
_TREND = 12
_FIRST = ("episode/return", "episode/length", "episode/success")


class StageLine(NamedTuple):
    """One stage as the display shows it. budget is None while nobody knows it, seconds_left while it cannot be said."""

    mark: str
    name: str
    steps: int
    budget: int | None
    remark: str
    style: str


class LiveDisplay(QuietDisplay):
    """A picture on stderr, redrawn by a thread of its own that only reads: the training never waits for it."""

    def begin(self, directory: Path, description: dict[str, Any], progress: Progress, message: str) -> None:
        super().begin(directory, description, progress, message)
        self._stages = [(stage["name"], stage["max_stage_steps"]) for stage in description["stages"]]
        self._progress, self._message = progress, message
        self._began, self._steps_before = time.monotonic(), progress.total_steps
        self._package: LoggingPackage | None = None
        self._trends: dict[str, deque[float]] = defaultdict(lambda: deque(maxlen=_TREND))
        self._live = Live(
            get_renderable=self._picture,
            console=Console(stderr=True, highlight=False),
            refresh_per_second=_REFRESHES_PER_SECOND,
            redirect_stdout=sys.stdout.isatty(),  # what leads to a file or a pipe goes there undisturbed
        )
        self._live.start()

    def write(self, package: LoggingPackage) -> None:
        if package.should_log and package.kind == "train":
            for tag, mean in package.means.items():
                self._trends[tag].append(mean)
            self._package = package

    def note(self, tag: str, text: str, total_steps: int) -> None:
        self._print(Text(text, "dim"))

    def warn(self, text: str) -> None:
        self._print(Text.assemble(("warning: ", "yellow"), text))

    def close(self) -> None:
        if self.directory is not None:
            self._live.stop()

    def _print(self, text: Text) -> None:
        console = Console(stderr=True) if self.directory is None else self._live.console
        console.print(text, soft_wrap=True)

    # The picture

    def _picture(self) -> RenderableType:
        parts: list[RenderableType] = [self._headline(), self._stage_table()]
        if self._package is not None:
            parts += ["", self._interval(self._package)]
        return Group(*parts)

    def _headline(self) -> Text:
        elapsed = duration(time.monotonic() - self._began)
        return Text.assemble((str(self.directory), "bold"), f"  {self._message}  {elapsed}", no_wrap=True)

    def _stage_table(self) -> Table:
        table = Table.grid(padding=(0, 1), expand=True)
        table.add_column()
        table.add_column(no_wrap=True, max_width=30, overflow="ellipsis")
        table.add_column(ratio=1)
        for _ in range(3):
            table.add_column(justify="right", no_wrap=True)
        for line in self._visible(self._stage_lines()):
            table.add_row(*_stage_row(line))
        return table

    def _visible(self, lines: list[StageLine]) -> list[StageLine]:
        """At most `_MOST_STAGES` of them, the current one among them."""
        first = max(0, min(self._progress.stage_index - _MOST_STAGES // 2, len(lines) - _MOST_STAGES))
        return lines[first : first + _MOST_STAGES]

    def _stage_lines(self) -> list[StageLine]:
        return [self._stage_line(index, name, budget) for index, (name, budget) in enumerate(self._stages)]

    def _stage_line(self, index: int, name: str, declared: Any) -> StageLine:
        progress = self._progress
        finished = progress.stages
        if index < len(finished):
            steps = finished[index]["steps"]
            return StageLine("✓", name, steps, steps, finished[index]["reason"], "green")
        if index == progress.stage_index and progress.stage_budget is not None:
            left = self._seconds_for(progress.stage_budget - progress.stage_steps)
            return StageLine("▸", name, progress.stage_steps, progress.stage_budget, f"{left} left", "bold cyan")
        return StageLine("·", name, 0, declared if isinstance(declared, int) else None, "", "dim")

    def _seconds_for(self, steps: int) -> str:
        """How long so many steps take at the mean speed since the training began."""
        taken = self._progress.total_steps - self._steps_before
        elapsed = time.monotonic() - self._began
        return duration(max(steps, 0) * elapsed / taken) if taken else "?"

    def _interval(self, package: LoggingPackage) -> RenderableType:
        groups: dict[str, list[str]] = defaultdict(list)
        for tag in sorted(package.means, key=lambda tag: _FIRST.index(tag) if tag in _FIRST else len(_FIRST)):
            groups[tag.partition("/")[0]].append(tag)
        speed = groups.pop("speed", [])
        tables = [self._group(name, tags, package) for name, tags in groups.items()]
        return Columns([*tables, self._speed(speed, package)], padding=(0, 3))

    def _group(self, name: str, tags: list[str], package: LoggingPackage) -> Table:
        table = _small_table(name.replace("_", " "))
        for tag in tags:
            trend = sparkline(self._trends[tag]) if tag in _FIRST else ""
            table.add_row(tag.partition("/")[2], number(package.means[tag]), Text(trend, "dim"))
        return table

    def _speed(self, tags: list[str], package: LoggingPackage) -> Table:
        table = _small_table("speed")
        for tag in tags:
            name, value = tag.partition("/")[2], package.means[tag]
            if name == "steps_per_second":
                table.add_row("steps/s", f"{value:,.0f}", "")
            else:
                table.add_row(name.replace("_", " "), f"{value:.0%}", "")
        return table


def _stage_row(line: StageLine) -> list[RenderableType]:
    total = line.budget or 1
    share = min(line.steps / total, 1.0)
    of_how_many = f"{line.steps:,} / {line.budget:,}" if line.budget else f"{line.steps:,} / ?"
    bar = ProgressBar(total=total, completed=min(line.steps, total))
    return [
        Text(line.mark, line.style),
        Text(line.name, line.style),
        bar,
        of_how_many,
        f"{share:.0%}",
        Text(line.remark, "dim"),
    ]


def _small_table(title: str) -> Table:
    table = Table(
        title=Text(title, "bold"),
        title_justify="left",
        box=None,
        show_header=False,
        pad_edge=False,
        padding=(0, 1, 0, 0),
    )
    table.add_column(style="dim")
    table.add_column(justify="right")
    table.add_column(no_wrap=True)
    return table
