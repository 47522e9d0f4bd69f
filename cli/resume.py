"""`trainctl resume`: go on with a run."""

from __future__ import annotations

from typing import Annotated

import typer

from .options import (
    AsJson,
    CheckpointArgument,
    CheckpointOption,
    MaxRestarts,
    Nnodes,
    NodeRank,
    Nproc,
    Plain,
    Quiet,
    Rendezvous,
    fleet_of,
    one_path,
)


def resume(
    path: CheckpointArgument = None,
    checkpoint: CheckpointOption = None,
    device: Annotated[
        str | None, typer.Option(metavar="auto|cpu|cuda[:i]", help="[default: as before]", show_default=False)
    ] = None,
    nproc: Nproc = 1,
    nnodes: Nnodes = "1",
    node_rank: NodeRank = None,
    rdzv_endpoint: Rendezvous = "",
    max_restarts: MaxRestarts = 3,
    quiet: Quiet = False,
    plain: Plain = False,
    as_json: AsJson = False,
) -> None:
    """Go on with a run exactly where it was; with a finished one there is nothing to do.

    \b
    trainctl resume --checkpoint runs/first
    trainctl resume --checkpoint runs/first/checkpoints/step-000000050176

    Exit codes: those of run, and 3 checkpoint refused, 4 the experiment changed since the checkpoint.
    """
    chosen = one_path(path, checkpoint, "resume")

    from ..core.engine.launch import resume as resume_run
    from .training import train

    fleet = fleet_of(nproc, nnodes, node_rank, rdzv_endpoint, max_restarts, quiet, plain)
    train(lambda display: resume_run(chosen, display, device, fleet), fleet, quiet, plain, as_json)
