"""`trainctl debug-dump`: an update with non-finite numbers, repeated."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def debug_dump(
    path: Annotated[
        Path, typer.Argument(metavar="RUN|DUMP", help="A run that ended with exit code 6, or its nan_dump.")
    ],
) -> None:
    """Repeat the update for which a training stopped with exit code 6, and show where the numbers go wrong.

    \b
    trainctl debug-dump runs/first/nan_dump

    Exit codes: 0 the update went wrong again, 1 this time it did not, 3 there is no dump.
    """
    from ..core.engine.commands.debug_dump import repeat_update
    from .console import show_lines

    repeated = repeat_update(path)
    ending = [] if repeated.is_reproduced else ["this time all numbers are finite: what was random in it is not kept"]
    show_lines([repeated.origin, *(f"  {line}" for line in [*repeated.findings, *ending])])
    raise typer.Exit(0 if repeated.is_reproduced else 1)
