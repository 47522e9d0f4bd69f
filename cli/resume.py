"""`trainctl resume`: go on with a run."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

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
    Settings,
    fleet_of,
    one_path,
    settings_of,
)

if TYPE_CHECKING:
    from ..core.engine.launch import Display
    from ..core.engine.options import Outcome
    from ..core.engine.workers.signals import StopRequest


def resume(
    path: CheckpointArgument = None,
    *,
    settings: Settings,
    checkpoint: CheckpointOption = None,
    experiment: Annotated[
        Path | None,
        typer.Option(
            "--experiment",
            metavar="FILE",
            help="Go on with this file instead of the run's own copy.",
            show_default=False,
        ),
    ] = None,
    allow_changes: Annotated[
        bool, typer.Option("--allow-changes", help="Go on also where the training becomes another.")
    ] = False,
    extend_steps: Annotated[
        int, typer.Option("--extend-steps", metavar="N", min=0, help="So many more steps in the last stage.")
    ] = 0,
    from_stage: Annotated[
        str | None, typer.Option("--from-stage", metavar="NAME", help="Begin this stage again.", show_default=False)
    ] = None,
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
    trainctl resume --checkpoint runs/first --extend-steps 100_000
    trainctl resume --checkpoint runs/first --from-stage ppo --set learning_rate=1e-4 --allow-changes

    Exit codes: those of run, and 3 checkpoint refused, 4 the experiment changed since the checkpoint.
    """
    chosen = one_path(path, checkpoint, "resume")

    from ..core.engine.workers.final_failure import refuse_to_repeat_a_failure

    refuse_to_repeat_a_failure()  # before everything that takes seconds to import
    from .training import train

    fleet = fleet_of(nproc, nnodes, node_rank, rdzv_endpoint, max_restarts, quiet, plain)

    def begin(display: Display, request: StopRequest) -> Outcome:
        from ..core.engine.launch import resume as resume_run
        from ..core.engine.options import Wish

        wish = Wish(experiment, settings_of(settings), extend_steps, from_stage, allow_changes)
        return resume_run(chosen, display, device, fleet, wish, request)

    train(begin, fleet, quiet, plain, as_json, experiment)
