"""`trainctl evaluate`: play episodes with a trained model."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ..core.errors import UsageError
from .options import AsJson, CheckpointArgument, CheckpointOption, Device, Settings, one_path, settings_of
from .output import print_document, standard_output

if TYPE_CHECKING:
    from ..core.engine.saving.from_checkpoint import Evaluated


def evaluate(
    path: CheckpointArgument = None,
    *,
    settings: Settings,
    checkpoint: CheckpointOption = None,
    episodes: Annotated[
        int | None,
        typer.Option(
            metavar="N",
            min=1,
            help="How many episodes to play.  [default: as the validation, or 100]",
            show_default=False,
        ),
    ] = None,
    deterministic: Annotated[
        bool, typer.Option("--deterministic/--sample", help="The most probable action, or one drawn at random.")
    ] = True,
    seed: Annotated[
        int | None,
        typer.Option(
            metavar="N",
            min=0,
            help="The same seed plays the same episodes.  [default: as the validation, or 0]",
            show_default=False,
        ),
    ] = None,
    every_checkpoint: Annotated[
        bool, typer.Option("--all", help="Every checkpoint of the run, one after another.")
    ] = False,
    experiment: Annotated[
        Path | None,
        typer.Option(
            "--experiment",
            metavar="FILE",
            help="Of this experiment, instead of the run's own copy: for a checkpoint from elsewhere.",
            show_default=False,
        ),
    ] = None,
    device: Device = "auto",
    as_json: AsJson = False,
) -> None:
    """Play episodes with the model of a checkpoint; shows means with their 95 % confidence intervals.

    \b
    trainctl evaluate --checkpoint runs/first --episodes 100
    trainctl evaluate runs/first@best
    trainctl evaluate runs/first --all

    A checkpoint from elsewhere holds numbers only; with --experiment nothing that came with it is executed.
    An experiment with a validation is evaluated in its environments; @best gives the logged numbers again.
    """
    chosen = one_path(path, checkpoint, "evaluate")

    from ..core.engine.saving.from_checkpoint import evaluate_checkpoint
    from ..core.experiment_file import load_experiment
    from .console import warn

    if settings and experiment is None:
        raise UsageError("--set goes with --experiment", "without it the run's own settings are in force")
    with standard_output(reserved=as_json):
        loaded = load_experiment(experiment, settings_of(settings)) if experiment else None
        paths = _all_of(chosen) if every_checkpoint else [chosen]
        played = [evaluate_checkpoint(one, episodes, deterministic, seed, device, loaded, warn) for one in paths]
    if as_json:
        documents = [_document(one) for one in played]
        print_document(documents if every_checkpoint else documents[0])
    elif every_checkpoint:
        _show_all(played)
    else:
        _show(played[0], deterministic)


def _all_of(path: Path) -> list[Path]:
    """The checkpoints of the run; damaged ones are told and left out. Raises `CheckpointError` if none is left."""
    from ..core.engine.saving.checkpoint import list_checkpoints, verify
    from ..core.engine.saving.run_directory import RunDirectory
    from ..core.errors import CheckpointError
    from .console import say

    directory = RunDirectory.of_checkpoint(path)
    faults = {one: verify(one) for one in list_checkpoints(directory.checkpoints)}
    say([f"warning: {one.name} is left out: {fault}" for one, fault in faults.items() if fault], "yellow")
    if not (valid := [one for one, fault in faults.items() if not fault]):
        raise CheckpointError(f"{directory.path} has no checkpoint to evaluate", "train it first, or name another run")
    return valid


def _document(played: Evaluated) -> dict[str, Any]:
    summaries = {name: {"mean": s.mean, "ci95": list(s.ci95)} for name, s in played.summaries.items()}
    return {"checkpoint": str(played.checkpoint.path), "episodes": played.episodes, **summaries}


def _show(played: Evaluated, deterministic: bool) -> None:
    from .console import show_lines, show_table
    from .text import counted, number

    actions = "most probable actions" if deterministic else "sampled actions"
    rows = [
        [name, number(s.mean), f"{number(s.ci95[0])} … {number(s.ci95[1])}"] for name, s in played.summaries.items()
    ]
    show_lines([f"{counted(played.episodes, 'episode')} of {played.checkpoint.path}, {actions}"])
    show_table(["", "mean", "95 % interval"], rows)


def _show_all(played: list[Evaluated]) -> None:
    from .console import show_table
    from .text import number

    names = list(dict.fromkeys(name for one in played for name in one.summaries))
    rows = [
        [
            f"{one.checkpoint.step:,}",
            str(one.checkpoint.about.get("stage", "")),
            *(number(one.summaries[name].mean) if name in one.summaries else "" for name in names),
        ]
        for one in played
    ]
    show_table(["steps", "stage", *names], rows)
