"""`trainctl evaluate`: play episodes with a trained model."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from .options import AsJson, CheckpointArgument, CheckpointOption, Device, one_path
from .output import print_document, standard_output

if TYPE_CHECKING:
    from ..core.engine.evaluation import Summary


def evaluate(
    path: CheckpointArgument = None,
    checkpoint: CheckpointOption = None,
    episodes: Annotated[int, typer.Option(metavar="N", min=1, help="How many episodes to play.")] = 100,
    deterministic: Annotated[
        bool, typer.Option("--deterministic/--sample", help="The most probable action, or one drawn at random.")
    ] = True,
    seed: Annotated[int, typer.Option(metavar="N", min=0, help="The same seed plays the same episodes.")] = 0,
    device: Device = "auto",
    as_json: AsJson = False,
) -> None:
    """Play episodes with the model of a checkpoint; shows means with their 95 % confidence intervals.

    \b
    trainctl evaluate --checkpoint runs/first --episodes 100
    """
    chosen = one_path(path, checkpoint, "evaluate")

    from ..core.engine.from_checkpoint import evaluate_checkpoint

    with standard_output(reserved=as_json):
        played, summaries = evaluate_checkpoint(chosen, episodes, deterministic, seed, device)
    if as_json:
        print_document({"checkpoint": str(played.path), "episodes": episodes, **_as_json(summaries)})
    else:
        _show(str(played.path), episodes, deterministic, summaries)


def _as_json(summaries: dict[str, Summary]) -> dict[str, Any]:
    return {name: {"mean": found.mean, "ci95": list(found.ci95)} for name, found in summaries.items()}


def _show(checkpoint: str, episodes: int, deterministic: bool, summaries: dict[str, Summary]) -> None:
    from .console import show_lines, show_table
    from .text import number

    actions = "most probable actions" if deterministic else "sampled actions"
    rows = [[name, number(s.mean), f"{number(s.ci95[0])} … {number(s.ci95[1])}"] for name, s in summaries.items()]
    show_lines([f"{episodes} episodes of {checkpoint}, {actions}"])
    show_table(["", "mean", "95 % interval"], rows)
