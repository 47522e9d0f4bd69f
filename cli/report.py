"""`trainctl report`: a table over seeds, for a paper."""

from __future__ import annotations

import csv
import io
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated

import typer

from .compare import Metric, RunPaths

if TYPE_CHECKING:
    from ..core.engine.commands.run_statistics import Spread

_HEADER = ["experiment", "runs", "mean", "IQM", "IQM 95 % low", "IQM 95 % high"]


class Format(StrEnum):
    """How the table is written."""

    markdown = "markdown"
    latex = "latex"
    csv = "csv"


def report(
    runs: RunPaths,
    metric: Metric = "episode/return",
    last: Annotated[int, typer.Option(metavar="N", min=1, help="Of each run the mean of its last N values.")] = 1,
    form: Annotated[Format, typer.Option("--format", help="How to write the table.")] = Format.markdown,
) -> None:
    """Write a table over seeds: mean, interquartile mean (IQM) and its 95 % bootstrap interval over runs.

    \b
    trainctl report runs/cartpole-* --metric episode/return
    trainctl report runs/* --metric valid/success --format latex

    Runs that differ in their seed alone are one row. Values are as the last interval, or validation, left them.
    """
    from ..core.engine.commands.run_groups import final_values, read_groups
    from ..core.engine.commands.run_statistics import spread

    groups = [(group, final_values(group, metric, last)) for group in read_groups(runs, metric)]
    rows = [[group.label, *_cells(spread(values))] for group, values in groups if values]
    write = {Format.markdown: _markdown, Format.latex: _latex, Format.csv: _csv}[form]
    typer.echo(write(rows))


def _cells(found: Spread) -> list[str]:
    interval = found.interquartile_mean_ci95
    ends = ["", ""] if interval is None else [f"{end:.6g}" for end in interval]
    return [str(found.runs), f"{found.mean:.6g}", f"{found.interquartile_mean:.6g}", *ends]


def _markdown(rows: list[list[str]]) -> str:
    lines = [_HEADER, ["---", *["---:"] * (len(_HEADER) - 1)], *rows]
    return "\n".join(f"| {' | '.join(cell.replace('|', '/') for cell in line)} |" for line in lines)


def _latex(rows: list[list[str]]) -> str:
    body = [" & ".join(_escaped(cell) for cell in line) + r" \\" for line in [_HEADER, *rows]]
    begin = rf"\begin{{tabular}}{{l{'r' * (len(_HEADER) - 1)}}}"
    return "\n".join([begin, r"\hline", body[0], r"\hline", *body[1:], r"\hline", r"\end{tabular}"])


def _escaped(text: str) -> str:
    return text.replace("\\", r"\textbackslash ").translate({ord(mark): f"\\{mark}" for mark in "_%&#${}"})


def _csv(rows: list[list[str]]) -> str:
    file = io.StringIO()
    csv.writer(file, lineterminator="\n").writerows([_HEADER, *rows])
    return file.getvalue().rstrip("\n")
