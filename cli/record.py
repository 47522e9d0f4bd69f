"""`trainctl record`: films of a trained model."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from .options import AsJson, CheckpointArgument, CheckpointOption, Device, one_path
from .output import print_document, standard_output
from .text import counted

if TYPE_CHECKING:
    from ..core.engine.playing.filming import Film


class Only(StrEnum):
    """Which episodes are kept."""

    all = "all"
    failures = "failures"
    successes = "successes"


class Format(StrEnum):
    """What a film is written as."""

    gif = "gif"
    mp4 = "mp4"


def record(
    path: CheckpointArgument = None,
    checkpoint: CheckpointOption = None,
    episodes: Annotated[int, typer.Option(metavar="N", min=1, help="How many episodes to play.")] = 5,
    only: Annotated[Only, typer.Option(help="Which of them to keep.")] = Only.all,
    output: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="Where to.  [default: RUN/videos/CHECKPOINT]", show_default=False),
    ] = None,
    form: Annotated[Format, typer.Option("--format", help="mp4 needs the extra `video`.")] = Format.gif,
    deterministic: Annotated[
        bool, typer.Option("--deterministic/--sample", help="The most probable action, or one drawn at random.")
    ] = True,
    seed: Annotated[int, typer.Option(metavar="N", min=0, help="The same seed plays the same episodes.")] = 0,
    device: Device = "auto",
    as_json: AsJson = False,
) -> None:
    """Film episodes of a checkpoint's model, with its action and value (and the expert's action) written below.

    \b
    trainctl record runs/first --episodes 3
    trainctl record runs/first@best --only failures --episodes 20 --output failures
    """
    from ..core.engine.playing.filming import film, success_is
    from ..core.engine.saving.from_checkpoint import open_model
    from ..core.engine.saving.run_directory import RunDirectory
    from .console import say, warn

    chosen = one_path(path, checkpoint, "record")
    with standard_output(reserved=as_json):
        opened = open_model(chosen, device, warn=warn)
        folder = output or RunDirectory.of_checkpoint(chosen).videos / opened.checkpoint.path.name
        wanted = {"wanted": success_is(only is Only.successes)} if only is not Only.all else {}
        films = []
        for one in film(opened, episodes, folder, f".{form}", seed=seed, deterministic=deterministic, **wanted):
            films.append(one)
            say([str(one.path)])
    if as_json:
        print_document([_document(one) for one in films])
    else:
        typer.echo(f"{folder}: {len(films)} of {counted(episodes, 'episode')}")


def _document(film: Film) -> dict[str, float | str]:
    episode = film.episode
    return {"file": str(film.path), "return": episode.episode_return, "length": episode.length, **episode.metrics}
