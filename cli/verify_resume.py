"""`trainctl verify-resume`: the proof that killed and resumed is the same as never killed."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from .options import AsJson, Device, Nproc, Settings, settings_of
from .output import print_document, standard_output

if TYPE_CHECKING:
    from ..core.engine.commands.verify_resume import Verdict


def verify_resume(
    experiment: Annotated[
        Path,
        typer.Argument(metavar="EXPERIMENT", help="A Python file with a function `experiment`.", show_default=False),
    ],
    settings: Settings,
    at: Annotated[
        list[str],
        typer.Option(
            "--at",
            metavar="POINTS",
            help="Where to kill: 37%, a number of steps, stage-end, random; repeatable, or with commas.  "
            "[default: 37%,stage-end,random]",
            default_factory=list,
            show_default=False,
        ),
    ],
    seed: Annotated[int, typer.Option(metavar="N", min=0, help="Everything random follows from it.")] = 0,
    steps: Annotated[
        int | None,
        typer.Option(
            metavar="N",
            min=1,
            help="Steps in all; the stages are made shorter in proportion.  [default: 4096]",
            show_default=False,
        ),
    ] = None,
    device: Device = "auto",
    deterministic: Annotated[bool, typer.Option("--deterministic", help="Bit-exact on GPUs as well; slower.")] = False,
    compiled: Annotated[bool, typer.Option("--compile", help="Compile acting and updates, as with `run`.")] = False,
    bfloat16: Annotated[bool, typer.Option("--bfloat16", help="Learn in bfloat16, as with `run`.")] = False,
    nproc: Nproc = 1,
    as_json: AsJson = False,
) -> None:
    """Train an experiment twice for a little while, once killed (kill -9) and resumed, and compare every bit.

    \b
    trainctl verify-resume experiments/cartpole_ppo.py
    trainctl verify-resume experiments/cartpole_ppo.py --steps 20_000 --at 10%,60%,random

    Exit codes: 0 bit-exact, 1 not, 2 bad experiment or usage.
    """
    from ..core.engine.commands.verify_resume import POINTS
    from ..core.engine.commands.verify_resume import verify_resume as verify
    from ..core.engine.options import RunOptions
    from ..core.engine.workers.workers import Fleet
    from .console import say

    options = RunOptions(
        experiment,
        settings_of(settings),
        seed=seed,
        device=device,
        deterministic=deterministic,
        compile=compiled,
        bfloat16=bfloat16,
        fleet=Fleet(nproc, max_restarts=0),
    )
    # of what killed processes leave behind, which is cleaned up
    os.environ.setdefault("PYTHONWARNINGS", "ignore:resource_tracker")
    points = [point.strip() for text in at for point in text.split(",")] or list(POINTS)
    with standard_output(reserved=as_json):
        verdict = verify(options, steps, points, lambda text: say([text]))
    if as_json:
        print_document(verdict.to_json())
    else:
        _show(verdict)
    raise typer.Exit(0 if verdict.bit_exact else 1)


def _show(verdict: Verdict) -> None:
    from .console import show_lines

    compared = ", ".join(f"{count:,} {name}" for name, count in verdict.compared.items())
    if verdict.bit_exact:
        lines = [f"bit-exact: {verdict.steps:,} steps, killed {len(verdict.kills)} times and resumed"]
    else:
        lines = [f"not bit-exact (guarantee of the resumes: {verdict.guarantee})"]
        lines += [f"  first difference  {verdict.first_difference}", f"  likely cause      {verdict.likely_cause}"]
        lines += [f"  both runs         {verdict.runs}"]
    lines += [f"  compared          {compared}"]
    for kill in verdict.kills:
        origin = kill.resumed_from or "the start (no checkpoint was there yet)"
        lines.append(f"  killed at         {kill.at} ({kill.step:,} steps), went on from {origin}")
    show_lines(lines)
