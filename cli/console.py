"""What a person reads: tables on stdout; what went wrong and what can be done next on stderr."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from rich import box
from rich.cells import cell_len
from rich.console import Console
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

_STAGE_WIDTH = 24
_GAP = 2  # between two columns of a table
_SHORT = 9  # so many letters are not worth cutting
_NUMBER = re.compile(r"[^a-z]*\d[^a-z]*(e[-+]?\d+)?[^a-z]*", re.IGNORECASE)
_TO_COPY = ("trainctl ", "pip install ", "-->")


class Cell(NamedTuple):
    """A text and its style, e.g. "dim" or "bold"."""

    text: str
    style: str = ""


def say(lines: Iterable[str], style: str = "") -> None:
    """Lines for the reader of stderr. They are never broken, so that paths and commands can be copied."""
    console = Console(stderr=True)
    for line in lines:
        console.print(Text(line, style), soft_wrap=True)


def warn(text: str) -> None:
    """What the user should know, on stderr."""
    say([f"warning: {text}"], "yellow")


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
        show_table(["", *names[part]], [[row[0], *row[1:][part]] for row in rows], whole_names=True)
    Console().print(Text(legend, "dim"))


def show_table(header: Sequence[str], rows: Iterable[Sequence[str | Cell]], whole_names: bool = False) -> None:
    """A table on stdout. The first column names its rows; with whole_names it is never folded."""
    lines = [[cell if isinstance(cell, Cell) else Cell(cell) for cell in row] for row in rows]
    columns = [[name, *(cell.text for cell in cells)] for name, *cells in zip(header, *lines, strict=True)]
    room = Console().width - _GAP * (len(header) - 1)
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False, collapse_padding=True)
    for name, width in zip(header, column_widths(columns, room, whole_names), strict=True):
        table.add_column(Text(name, "bold"), width=width, overflow="fold")
    for line in lines:
        table.add_row(*(Text(*cell) for cell in line))
    Console().print("", table, crop=False)
    Console().print()


def column_widths(columns: Sequence[Sequence[str]], room: int, whole_first: bool = False) -> list[int]:
    """How wide to make the columns, given the texts of each, in room for so many characters.

    The widest gives way first, but none so far that a number or a short word is cut in two: names and paths are.
    """
    widths = [max(cell_len(line) for text in column for line in (text.splitlines() or [""])) for column in columns]
    least = [max((cell_len(word) for text in column for word in _whole_words(text)), default=1) for column in columns]
    least[:1] = widths[:1] if whole_first else least[:1]
    while sum(widths) > room and any(width > low for width, low in zip(widths, least, strict=True)):
        can_give = [width if width > low else 0 for width, low in zip(widths, least, strict=True)]
        widths[can_give.index(max(can_give))] -= 1
    return widths


def _whole_words(text: str) -> list[str]:
    return [word for word in text.split() if len(word) <= _SHORT or _NUMBER.fullmatch(word)]


def show_failure(complaints: Sequence[str], next_steps: Sequence[str]) -> None:
    """What went wrong, on stderr, on a terminal between two red lines. What one copies from it is never broken."""
    blocks = [_complaint(complaint) for complaint in complaints]
    if len(complaints) > 1:
        blocks.append(Text(f"{len(complaints)} errors", "bold red"))
    console = Console(stderr=True)
    if sys.stderr.isatty():
        console.rule(Text("trainctl", "red"), align="left", style="red")
        for line in Text("\n\n").join(blocks).split(allow_blank=True):
            _show_line(console, line)
        console.rule(style="red")
    else:
        console.print(Text("\n\n").join(blocks), soft_wrap=True)
    say(next_steps)


def _show_line(console: Console, line: Text) -> None:
    """Prose is broken between words and stays indented; commands and places are left to the terminal."""
    if any(mark in line.plain for mark in _TO_COPY):
        console.print(line, soft_wrap=True)
    else:
        indent = len(line.plain) - len(line.plain.lstrip())
        console.print(Padding(line[indent:], (0, 0, 0, indent)))


def _complaint(complaint: str) -> Text:
    """The first line says what is wrong; the others where, and what to do."""
    what, *more = complaint.splitlines() or [""]
    text = Text.assemble(("error: ", "bold red"), (what, "bold"))
    for line in more:
        text.append(f"\n{line}", "cyan" if line.lstrip().startswith("-->") else "")
    return text
