"""`trainctl compare`: what differs between runs, and what came of it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from .completion import complete_runs
from .options import AsJson
from .output import print_document, standard_output

if TYPE_CHECKING:
    from ..core.engine.commands.run_groups import Group

Metric = Annotated[str, typer.Option(metavar="TAG", help="The metric, as TensorBoard calls it.")]
RunPaths = Annotated[
    list[Path],
    typer.Argument(metavar="RUN...", help="Run directories.", show_default=False, autocompletion=complete_runs),
]


def compare(
    runs: RunPaths,
    metric: Metric = "episode/return",
    points: Annotated[int, typer.Option(metavar="N", min=1, help="At how many steps to compare.")] = 5,
    plot: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Draw the curves, e.g. curves.png.", show_default=False)
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Show settings and code that differ between runs, and a metric at equal steps with 95 % intervals.

    \b
    trainctl compare runs/first runs/second
    trainctl compare runs/small-* runs/large-* --metric valid/return --plot curves.png

    Runs that differ in their seed alone are one group, compared with the group of the first run.
    """
    from ..core.engine.commands.run_groups import read_groups

    with standard_output(reserved=as_json):
        groups = read_groups(runs, metric)
        if plot is not None:
            from ..core.engine.commands.curve_plot import plot as draw

            draw(groups, metric, plot)
    if as_json:
        print_document(_document(groups, metric, points))
    else:
        _show(groups, metric, points)


def _document(groups: list[Group], metric: str, points: int) -> dict[str, Any]:
    from ..core.engine.commands.run_groups import code_changes, equal_steps, setting_changes

    first, *others = groups
    return {
        "metric": metric,
        "groups": [{"label": group.label, "runs": [str(run.path) for run in group.runs]} for group in groups],
        "differences": [
            {
                "group": other.label,
                "settings": [{"key": c.key, "before": c.before, "now": c.now} for c in setting_changes(first, other)],
                "code": code_changes(first, other),
            }
            for other in others
        ],
        "at": [
            {"total_steps": step, "groups": [at._asdict() if (at := g.at(metric, step)) else None for g in groups]}
            for step in equal_steps(groups, metric, points)
        ],
    }


def _show(groups: list[Group], metric: str, points: int) -> None:
    from ..core.engine.commands.run_groups import code_changes, equal_steps, setting_changes
    from .console import show_lines, show_table

    first, *others = groups
    names = [chr(ord("A") + number) if number < 26 else str(number) for number in range(len(groups))]
    rows = [[n, g.label, ", ".join(run.path.name for run in g.runs)] for n, g in zip(names, groups, strict=True)]
    show_table(["", "settings", "runs"], rows)
    for name, other in zip(names[1:], others, strict=True):
        found = setting_changes(first, other)
        if found:
            show_table(["settings", "A", name], [[c.key, str(c.before), str(c.now)] for c in found])
        else:
            show_lines([f"settings, A → {name}", "  the same", ""])
        show_lines([f"code, A → {name}", *(code_changes(first, other) or ["  the same"]), ""])
    steps = equal_steps(groups, metric, points)
    show_table([metric, *names], [[f"{step:,}", *(_cell(group, metric, step) for group in groups)] for step in steps])


def _cell(group: Group, metric: str, step: int) -> str:
    from .text import number

    at = group.at(metric, step)
    if at is None:
        return ""
    interval = "" if at.mean_ci95 is None else f"  ({number(at.mean_ci95[0])} … {number(at.mean_ci95[1])})"
    return f"{number(at.mean)}{interval}"
