"""`trainctl replay`: the episode in which an environment failed, repeated."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def replay(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="A run directory.", show_default=False)],
    failure: Annotated[
        str, typer.Option(metavar="NAME", help="One of RUN/failures, e.g. environment-3-episode-7.", show_default=False)
    ],
) -> None:
    """Repeat an episode in which an environment raised, crashed or hung, from its seed and its actions.

    \b
    trainctl replay runs/first --failure environment-3-episode-7

    Exit codes: 0 it failed again, 1 this time it did not, 3 there is no such failure.
    """
    from ..core.engine.replay_failure import replay_failure
    from .console import show_lines

    replayed = replay_failure(run, failure)
    recorded = replayed.recorded
    lines = [
        f"environment {recorded['environment']}, episode {recorded['episode']}, seed {recorded['seed']}",
        f"  then: {recorded['what']}, in step {len(recorded['actions'])}",
    ]
    now = f"{replayed.found}, in step {replayed.steps + 1}" if replayed.found else "nothing failed"
    show_lines([*lines, f"  now:  {now}"])
    raise typer.Exit(0 if replayed.found else 1)
