"""What a person reads: tables on stdout; what went wrong and what can be done next on stderr."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from rich import box
from rich.console import Console
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

_STAGE_WIDTH = 24


class Cell(NamedTuple):
    """A text and its style, e.g. "dim" or "bold"."""

    text: str
    style: str = ""


def say(lines: Iterable[str], style: str = "") -> None:
    """Lines for the reader of stderr. They are never broken, so that paths and commands can be copied."""
    console = Console(stderr=True)
    for line in lines:
        console.print(Text(line, style), soft_wrap=True)


def show_lines(lines: Iterable[str]) -> None:
    """Lines on stdout, never broken; the first one is a heading."""
    console = Console()
    for number, line in enumerate(lines):
        console.print(Text(line, "" if number else "bold"), soft_wrap=True)


def show_stages(names: Sequence[str], rows: Sequence[Sequence[str | Cell]], legend: str) -> None:
    """A table with a column for each stage; as many side by side as the terminal has room for."""
    room = Console().width - max(len(str(row[0])) for row in rows)
    abreast = max(1, room // _STAGE_WIDTH)
    for first in range(0, len(names), abreast):
        part = slice(first, first + abreast)
        show_table(["", *names[part]], [[row[0], *row[1:][part]] for row in rows])
    Console().print(Text(legend, "dim"))


def show_table(header: Sequence[str], rows: Iterable[Sequence[str | Cell]]) -> None:
    """A table on stdout. The first column names its rows."""
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for number, column in enumerate(header):
        table.add_column(Text(column, "bold"), overflow="fold", no_wrap=number == 0)
    for row in rows:
        table.add_row(*(Text(*cell) if isinstance(cell, Cell) else Text(cell) for cell in row))
    Console().print(table)


def show_failure(complaints: Sequence[str], next_steps: Sequence[str]) -> None:
    """What went wrong, on stderr: in a red panel on a terminal, elsewhere as lines that are never broken."""
    blocks = [_complaint(complaint) for complaint in complaints]
    if len(complaints) > 1:
        blocks.append(Text(f"{len(complaints)} errors", "bold red"))
    text = Text("\n\n").join(blocks)
    console = Console(stderr=True)
    if sys.stderr.isatty():
        console.print(Panel.fit(text, border_style="red", title="trainctl", title_align="left"))
    else:
        console.print(text, soft_wrap=True)
    say(next_steps)


def _complaint(complaint: str) -> Text:
    """The first line says what is wrong; the others where, and what to do."""
    what, *more = complaint.splitlines() or [""]
    text = Text.assemble(("error: ", "bold red"), (what, "bold"))
    for line in more:
        text.append(f"\n{line}", "cyan" if line.lstrip().startswith("-->") else "")
    return text
