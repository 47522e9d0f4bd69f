"""`trainctl doctor`: is this machine fit to train, and what mends it if not."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from .options import AsJson
from .output import print_document, standard_output

_STYLES = {"ok": "green", "warning": "yellow", "error": "bold red"}


def doctor(
    runs_dir: Annotated[Path, typer.Option(metavar="DIR", help="Where run directories will be.")] = Path("runs"),
    as_json: AsJson = False,
) -> None:
    """Look at torch, GPU, cores, memory between processes, disk and locks; what is wrong comes with its remedy.

    \b
    trainctl doctor
    trainctl doctor --runs-dir /data/runs --json

    Exit codes: 0 fit to train (warnings included), 1 not.
    """
    from ..core.engine.commands.doctor import ERROR, examine

    with standard_output(reserved=as_json):
        findings = examine(runs_dir)
    if as_json:
        print_document([finding.to_json() for finding in findings])
    else:
        from .console import Cell, show_table

        rows: list[list[str | Cell]] = [
            [f.what, Cell(f.state, _STYLES[f.state]), f.found, Cell(f.mend, "bold")] for f in findings
        ]
        show_table(["", "", "found", "mend it with"], rows)
    raise typer.Exit(int(any(finding.state == ERROR for finding in findings)))
