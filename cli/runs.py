"""`trainctl runs`: a table of the runs."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from .options import AsJson
from .output import print_document

if TYPE_CHECKING:
    from ..core.engine.commands.run_listing import RunSummary

_HEADER = ["run", "state", "stage", "steps", "best", "last", "steps/s", "age"]


def runs(
    runs_dir: Annotated[Path, typer.Option(metavar="DIR", help="Where run directories are.")] = Path("runs"),
    as_json: AsJson = False,
) -> None:
    """Show all runs of a folder: state, stage, steps, returns, speed, age.

    \b
    trainctl runs
    trainctl runs --runs-dir /data/runs --json

    best, last: mean return of an interval of the present stage. age: since it was begun.
    """
    from ..core.engine.commands.run_listing import list_runs

    found = list_runs(runs_dir)
    if as_json:
        print_document([run.to_json() for run in found])
    else:
        _show(runs_dir, found)


def _show(runs_dir: Path, found: list[RunSummary]) -> None:
    from .console import show_lines, show_table

    if not found:
        show_lines(
            [
                f"no runs in {runs_dir} yet",
                "  begin one: trainctl examples cp cartpole_ppo  &&  trainctl run cartpole_ppo.py",
            ]
        )
        return
    show_table(_HEADER, [_row(run) for run in found])


def _row(run: RunSummary) -> list[str]:
    from .text import number

    measured = [run.best_return, run.last_return]
    return [
        Path(run.run).name,
        run.state if run.attempts < 2 else f"{run.state}, try {run.attempts}",
        run.stage or "",
        f"{run.total_steps:,}",
        *("" if value is None else number(value) for value in measured),
        "" if run.steps_per_second is None else f"{run.steps_per_second:,.0f}",
        "" if run.age is None else _age(run.age),
    ]


def _age(seconds: float) -> str:
    """A time in its largest unit: 40 s · 12 min · 3 h · 5 d."""
    for unit, size in (("d", 86_400), ("h", 3_600), ("min", 60)):
        if seconds >= size:
            return f"{seconds // size:.0f} {unit}"
    return f"{seconds:.0f} s"
