"""The options that several commands have, and how their texts are read."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ..core.errors import UsageError
from .completion import complete_runs
from .displays import can_draw

if TYPE_CHECKING:
    from ..core.engine.workers.workers import Fleet

Settings = Annotated[
    list[str],
    typer.Option(
        "--set",
        metavar="KEY=VALUE",
        help="Set a parameter of experiment(...). Repeatable.",
        default_factory=list,
        show_default=False,
    ),
]
Device = Annotated[str, typer.Option(metavar="auto|cpu|cuda[:i]", help="Where to compute.")]
Quiet = Annotated[bool, typer.Option("--quiet", help="Show warnings and errors only.")]
Plain = Annotated[bool, typer.Option("--plain", help="No live display: one line for each interval.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON document on stdout; all else goes to stderr.")]
CheckpointArgument = Annotated[
    Path | None,
    typer.Argument(
        metavar="RUN|CHECKPOINT", help="The same as --checkpoint.", show_default=False, autocompletion=complete_runs
    ),
]
CheckpointOption = Annotated[
    Path | None,
    typer.Option(
        "--checkpoint",
        metavar="RUN|CHECKPOINT",
        help="A run directory (its newest valid checkpoint), a checkpoint, or RUN@best, RUN@stage:NAME, RUN@step:N.",
        show_default=False,
        autocompletion=complete_runs,
    ),
]


class WandbMode(StrEnum):
    """When Weights & Biases is told."""

    offline = "offline"
    online = "online"


Wandb = Annotated[
    WandbMode | None,
    typer.Option(help="Tell Weights & Biases as well (extra `wandb`); offline: sync later.", show_default=False),
]
Nproc = Annotated[
    int, typer.Option("--nproc", metavar="N", min=1, help="Workers on this machine.", rich_help_panel="Several workers")
]
Nnodes = Annotated[
    str, typer.Option("--nnodes", metavar="N|MIN:MAX|slurm", help="Machines.", rich_help_panel="Several workers")
]
NodeRank = Annotated[
    int | None,
    typer.Option("--node-rank", metavar="I", min=0, help="Of this machine.", rich_help_panel="Several workers"),
]
Rendezvous = Annotated[
    str,
    typer.Option(
        "--rdzv-endpoint", metavar="HOST:PORT", help="Where the machines meet.", rich_help_panel="Several workers"
    ),
]
MaxRestarts = Annotated[
    int,
    typer.Option(
        "--max-restarts",
        metavar="N",
        min=0,
        help="How often all go back to the newest checkpoint after a worker has died.",
        rich_help_panel="Several workers",
    ),
]


def settings_of(texts: Iterable[str]) -> dict[str, str]:
    """What `--set` says, as name -> text; of a name given twice the last counts. Raises UsageError without "="."""
    settings: dict[str, str] = {}
    for text in texts:
        name, equals, value = (part.strip() for part in text.partition("="))
        if not (name and equals):
            raise UsageError(f"--set {text} is not KEY=VALUE", "write e.g. --set learning_rate=1e-3")
        settings[name] = value
    return settings


def set_words(settings: Mapping[str, str]) -> list[str]:
    """The `--set` options that say this: `settings_of` the other way round."""
    return [word for name, text in settings.items() for word in ("--set", f"{name}={text}")]


def fleet_of(
    nproc: int, nnodes: str, node_rank: int | None, rdzv_endpoint: str, max_restarts: int, quiet: bool, plain: bool
) -> Fleet:
    """The workers that the options ask for. The first of them shows itself as this command would."""
    from ..core.engine.workers.workers import Fleet

    display = [option for option, wanted in (("--quiet", quiet), ("--plain", plain)) if wanted]
    draws = can_draw(quiet, plain)
    fleet = Fleet(nproc, nnodes, node_rank, rdzv_endpoint, max_restarts, tuple(display), draws)
    if nnodes != "slurm":
        return fleet
    from ..core.engine.workers.slurm import placed_by_slurm

    return placed_by_slurm(fleet)


def one_path(argument: Path | None, option: Path | None, command: str) -> Path:
    """The path that was given, as argument or with --checkpoint. Raises UsageError if it is none, or two."""
    given = [path for path in (argument, option) if path is not None]
    if len(given) != 1:
        found = "two were given" if given else "none was given"
        raise UsageError(
            f"{command} needs one run or checkpoint; {found}", f"write: trainctl {command} --checkpoint runs/NAME"
        )
    return addressed(given[0])


def addressed(path: Path) -> Path:
    """The checkpoint that RUN@best, RUN@stage:NAME or RUN@step:N means; another path is itself."""
    if "@" not in str(path):
        return path
    from ..core.engine.saving.checkpoint_choice import choose

    return choose(path)
