"""`trainctl replay`: an episode of a training, repeated: one in which an environment failed, or any other."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ..core.errors import UsageError
from .completion import complete_runs
from .record import Format


def replay(
    run: Annotated[
        Path,
        typer.Argument(metavar="RUN", help="A run directory.", show_default=False, autocompletion=complete_runs),
    ],
    failure: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="One of RUN/failures, e.g. environment-3-episode-7.", show_default=False),
    ] = None,
    episode: Annotated[
        int | None, typer.Option(metavar="N", min=0, help="Any episode of the training, from 0.", show_default=False)
    ] = None,
    environment: Annotated[int, typer.Option(metavar="I", min=0, help="Of this environment, from 0.")] = 0,
    stage: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="Where stages have environments of their own.", show_default=False),
    ] = None,
    output: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Of the film.  [default: RUN/videos]", show_default=False)
    ] = None,
    form: Annotated[Format, typer.Option("--format", help="mp4 needs the extra `video`.")] = Format.gif,
) -> None:
    """Repeat an episode of a training from its seed and its actions.

    \b
    trainctl replay runs/first --episode 12 --environment 3
    trainctl replay runs/first --failure environment-3-episode-7

    An episode is found by training in memory from the checkpoint before it, with the same bits; nothing of the run is
    changed. It is filmed. A failure (the environment raised, crashed or hung) is repeated from its record.

    Exit codes: 0 it failed again, or the film is there; 1 this time it did not fail; 3 there is no such failure.
    """
    if (failure is None) == (episode is None):
        raise UsageError("say what to replay: --episode N or --failure NAME", f"failures are in {run}/failures")
    if failure is not None:
        _replay_failure(run, failure)
    else:
        assert episode is not None
        _replay_episode(run, environment, episode, stage, output, f".{form}")


def _replay_failure(run: Path, failure: str) -> None:
    from ..core.engine.commands.replay_failure import replay_failure
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


def _replay_episode(
    run: Path, environment: int, number: int, stage: str | None, output: Path | None, suffix: str
) -> None:
    from ..core.engine.commands.replay_episode import find_episode, play_again
    from ..core.engine.saving.run_directory import RunDirectory
    from .console import say, show_lines
    from .text import number as short

    found = find_episode(run, environment, number, stage, lambda text: say([text]))
    numbers = {"return": found.record.episode_return, "length": found.record.length, **found.record.metrics}
    heading = f"environment {environment}, episode {number}, seed {found.seed}, after {found.total_steps:,} steps"
    show_lines([heading, "  " + "  ".join(f"{name} {short(value)}" for name, value in numbers.items())])
    folder = output or RunDirectory.of_checkpoint(run).videos
    path = folder / f"environment-{environment}-episode-{number}{suffix}"
    play_again(run, found, path)
    typer.echo(f"  {path}")
