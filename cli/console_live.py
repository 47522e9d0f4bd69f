"""The live display of a training: stages, means of the last interval, and where the time goes."""

from __future__ import annotations

import faulthandler
import os
import time
from collections import defaultdict, deque
from collections.abc import Iterator
from itertools import zip_longest
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, TextIO

from rich.cells import cell_len, set_cell_size
from rich.console import Console
from rich.live import Live
from rich.text import Text

from ..core.engine.workers.first_error import ERROR_FILE
from .captured_output import CapturedOutput
from .displays import FIRST_TAGS, QuietDisplay, interval_line
from .text import duration, number, sparkline

if TYPE_CHECKING:
    from ..core.engine.progress import Progress
    from ..core.metrics import LoggingPackage

_REFRESHES_PER_SECOND = 2
_MOST_STAGES = 8
_TREND = 12
_GROUP_WIDTH = 38
_NAME_WIDTH = 24

Line = list[tuple[str, str]]
"""One line of the picture: (text, style) pieces from left to right."""


class StageLine(NamedTuple):
    """One stage as the display shows it; budget is None while nobody knows it."""

    mark: str
    name: str
    steps: int
    budget: int | None
    remark: str
    style: str

    @property
    def share(self) -> float:
        """How much of it is done, from 0 to 1."""
        return min(self.steps / self.budget, 1.0) if self.budget else 0.0

    @property
    def numbers(self) -> str:
        """Steps and share in digits, then the remark."""
        steps = f"{self.steps:,} / {f'{self.budget:,}' if self.budget else '?'}"
        return f"{steps:>19} {self.share:>4.0%}  {self.remark:<13}"


class LiveDisplay(QuietDisplay):
    """A picture on stderr, redrawn by a thread of its own that only reads: the training never waits for it.

    What others write to the terminal meanwhile appears above it. A worker keeps the same, without the picture, in its
    log.
    """

    def __init__(self) -> None:
        self._log = _own_log()
        self._captured = CapturedOutput(lambda line: self._print(Text.from_ansi(line)))
        self._console = Console(file=self._captured.terminal, highlight=False)
        faulthandler.enable(self._captured.terminal)  # what is captured dies with the process

    def begin(self, directory: Path, description: dict[str, Any], progress: Progress, message: str) -> None:
        super().begin(directory, description, progress, message)
        self._stages = [(stage["name"], stage["max_stage_steps"]) for stage in description["stages"]]
        self._progress, self._message = progress, message
        self._began, self._steps_before = time.monotonic(), progress.total_steps
        self._keep(f"{directory}: {message}")
        self._trends: dict[str, deque[float]] = defaultdict(lambda: deque(maxlen=_TREND))
        self._groups: list[list[Line]] = []
        self._live = Live(
            get_renderable=self._picture,
            console=self._console,
            refresh_per_second=_REFRESHES_PER_SECOND,
            redirect_stdout=False,
            redirect_stderr=False,
        )
        self._live.start()

    def write(self, package: LoggingPackage) -> None:
        if package.should_log and package.kind == "valid":
            self._print(Text(interval_line(package), "green"))
        if package.should_log and package.kind == "train":
            self._keep(interval_line(package))
            for tag in FIRST_TAGS:
                if tag in package.means:
                    self._trends[tag].append(package.means[tag])
            self._groups = [self._group(name, tags, package.means) for name, tags in _grouped(package.means).items()]

    def note(self, tag: str, text: str, total_steps: int) -> None:
        self._print(Text(text, "dim"))

    def warn(self, text: str) -> None:
        self._print(Text.assemble(("warning: ", "yellow"), text))

    def close(self) -> None:
        self._captured.close()
        if self.directory is not None:
            self._live.stop()
        self._log.close()

    def _print(self, text: Text) -> None:
        self._keep(text.plain)
        self._console.print(text, soft_wrap=True)

    def _keep(self, line: str) -> None:
        print(line, file=self._log, flush=True)

    # The picture: made of text alone, for tables inside tables would take a hundredth of the training's time

    def _picture(self) -> Text:
        width = self._console.width
        elapsed = duration(time.monotonic() - self._began)
        lines: list[Line] = [[(str(self.directory), "bold"), (f"  {self._message}  {elapsed}", "")]]
        stages = [*self._visible_stages(), *self._all_stages()]
        names = min(max(cell_len(stage.name) for stage in stages), _NAME_WIDTH)
        lines += [_stage_line(stage, names, width) for stage in stages]
        if self._groups:
            lines += [[], *_side_by_side(self._groups, width // _GROUP_WIDTH)]
        return Text("\n").join([Text.assemble(*line, no_wrap=True, overflow="ellipsis") for line in lines])

    def _visible_stages(self) -> list[StageLine]:
        """At most `_MOST_STAGES` of them, the current one among them."""
        lines = [self._stage(index, name, budget) for index, (name, budget) in enumerate(self._stages)]
        first = max(0, min(self._progress.stage_index - _MOST_STAGES // 2, len(lines) - _MOST_STAGES))
        return lines[first : first + _MOST_STAGES]

    def _all_stages(self) -> list[StageLine]:
        """The pipeline as a whole, where it has several stages; its budget is known when those of all stages are."""
        if len(self._stages) == 1:
            return []
        each = [self._stage(index, name, budget).budget for index, (name, budget) in enumerate(self._stages)]
        known = [budget for budget in each if budget is not None]
        budget = sum(known) if len(known) == len(each) else None
        steps = self._progress.total_steps
        left = "" if budget is None else f"{self._time_for(budget - steps)} left"
        return [StageLine(" ", "all", steps, budget, left, "bold")]

    def _stage(self, index: int, name: str, declared: Any) -> StageLine:
        progress = self._progress
        finished, budget = progress.stages, progress.stage_budget
        if index < len(finished):
            steps = finished[index]["steps"]
            return StageLine("✓", name, steps, steps, finished[index]["reason"], "green")
        if index == progress.stage_index and budget is not None:
            left = self._time_for(budget - progress.stage_steps)
            return StageLine("▸", name, progress.stage_steps, budget, f"{left} left", "cyan")
        return StageLine("·", name, 0, declared if isinstance(declared, int) else None, "", "dim")

    def _time_for(self, steps: int) -> str:
        """How long so many steps take at the mean speed since the training began."""
        taken = self._progress.total_steps - self._steps_before
        elapsed = time.monotonic() - self._began
        return duration(max(steps, 0) * elapsed / taken) if taken else "?"

    def _group(self, name: str, tags: list[str], means: dict[str, float]) -> list[Line]:
        """A heading and a line for each tag."""
        names = [tag.partition("/")[2] for tag in tags]
        values = [_value(tag, means[tag]) for tag in tags]
        value_width = max(map(len, values))
        trend_width = _TREND + 1 if any(tag in self._trends for tag in tags) else 0
        name_width = min(max(map(cell_len, names)), _GROUP_WIDTH - value_width - trend_width - 2)
        lines: list[Line] = [[(name.replace("_", " "), "bold")]]
        for tag, own, value in zip(tags, names, values, strict=True):
            pieces = [(set_cell_size(own, name_width), "dim"), (f" {value:>{value_width}}", "")]
            lines.append([*pieces, (f" {sparkline(self._trends[tag])}" if tag in self._trends else "", "dim")])
        return lines


def _own_log() -> TextIO:
    """Where the launcher leaves it to this worker, who draws, to keep what it says; nowhere for a single process."""
    launched = os.environ.get(ERROR_FILE)
    return open(Path(launched).with_name("stderr.log") if launched else os.devnull, "a", encoding="utf-8")


def _grouped(means: dict[str, float]) -> dict[str, list[str]]:
    """First part of the tag -> tags; what an episode brought comes first, speed last."""
    groups: dict[str, list[str]] = {"episode": []}
    for tag in sorted(means, key=lambda tag: FIRST_TAGS.index(tag) if tag in FIRST_TAGS else len(FIRST_TAGS)):
        groups.setdefault(tag.partition("/")[0], []).append(tag)
    speed = groups.pop("speed", [])
    return {name: tags for name, tags in {**groups, "speed": speed}.items() if tags}


def _value(tag: str, value: float) -> str:
    if tag == "speed/steps_per_second":
        return f"{value:,.0f}"
    return f"{value:.0%}" if tag.startswith("speed/") else number(value)


def _stage_line(line: StageLine, name_width: int, width: int) -> Line:
    fixed = f"{line.mark} {set_cell_size(line.name, name_width)} "
    room = max(width - cell_len(fixed) - len(line.numbers) - 2, 4)
    done = round(room * line.share)
    return [
        (fixed, line.style),
        ("━" * done, line.style),
        ("╌" * (room - done), "dim"),
        (f" {line.numbers}", "dim" if line.style == "dim" else ""),
    ]


def _side_by_side(groups: list[list[Line]], columns: int) -> Iterator[Line]:
    """The groups in so many columns; each goes where the most room is left."""
    stacks: list[list[Line]] = [[] for _ in range(max(1, min(columns, len(groups))))]
    for group in groups:
        stack = min(stacks, key=len)
        stack += [*([[]] if stack else []), *group]
    for row in zip_longest(*stacks, fillvalue=[]):
        yield [piece for line in row for piece in _padded(line)]


def _padded(line: Line) -> Line:
    """The line, made as wide as a column."""
    used = sum(cell_len(text) for text, _ in line)
    return [*line, (" " * max(_GROUP_WIDTH - used, 1), "")]
