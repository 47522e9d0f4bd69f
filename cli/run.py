"""`trainctl run`: train an experiment."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ..core.errors import UsageError
from .examples import refuse_if_example
from .options import (
    AsJson,
    Device,
    MaxRestarts,
    Nnodes,
    NodeRank,
    Nproc,
    Plain,
    Quiet,
    Rendezvous,
    Settings,
    Wandb,
    addressed,
    fleet_of,
    settings_of,
)

if TYPE_CHECKING:
    from ..core.engine.launch import Display
    from ..core.engine.options import Outcome, RunOptions
    from ..core.engine.workers.signals import StopRequest

_SEEDS = "write e.g. --seeds 0-4 --jobs 2"


def run(
    experiment: Annotated[
        Path,
        typer.Argument(metavar="EXPERIMENT", help="A Python file with a function `experiment`.", show_default=False),
    ],
    settings: Settings,
    seed: Annotated[
        int | None,
        typer.Option(metavar="N", min=0, help="Everything random follows from it.  [default: 0]", show_default=False),
    ] = None,
    seeds: Annotated[
        str | None,
        typer.Option(metavar="RANGE", help="Several runs, e.g. 0-4 or 1,5,7-9: NAME-s0, …", show_default=False),
    ] = None,
    jobs: Annotated[
        int | None,
        typer.Option(metavar="N", min=1, help="How many of the --seeds at a time.  [default: 1]", show_default=False),
    ] = None,
    name: Annotated[str | None, typer.Option(metavar="NAME", help="Of the run directory.  [default: made up]")] = None,
    runs_dir: Annotated[Path, typer.Option(metavar="DIR", help="Where run directories are.")] = Path("runs"),
    init_from: Annotated[
        Path | None,
        typer.Option(metavar="RUN|CHECKPOINT", help="Begin with these weights; all else is new.", show_default=False),
    ] = None,
    from_stage: Annotated[
        str | None, typer.Option(metavar="NAME", help="Leave out the stages before this one.", show_default=False)
    ] = None,
    keep: Annotated[
        int | None,
        typer.Option(
            metavar="K",
            min=1,
            help="Checkpoints that stay, beside each stage's last.  [default: all]",
            show_default=False,
        ),
    ] = None,
    device: Device = "auto",
    deterministic: Annotated[bool, typer.Option("--deterministic", help="Bit-exact on GPUs as well; slower.")] = False,
    compiled: Annotated[
        bool, typer.Option("--compile", help="Compile acting and updates: faster after seconds; rounds differently.")
    ] = False,
    bfloat16: Annotated[
        bool, typer.Option("--bfloat16", help="Learn in bfloat16: faster for large networks; rounds more.")
    ] = False,
    profile: Annotated[
        int, typer.Option(metavar="N", min=0, help="Show where the time of N rollouts goes.", show_default=False)
    ] = 0,
    wandb: Wandb = None,
    histograms: Annotated[
        bool, typer.Option("--histograms", help="Distributions of the parameters on TensorBoard.")
    ] = False,
    films: Annotated[
        bool, typer.Option("--films", help="Animated episodes on TensorBoard, made beside the training.")
    ] = False,
    nproc: Nproc = 1,
    nnodes: Nnodes = "1",
    node_rank: NodeRank = None,
    rdzv_endpoint: Rendezvous = "",
    max_restarts: MaxRestarts = 3,
    quiet: Quiet = False,
    plain: Plain = False,
    as_json: AsJson = False,
) -> None:
    """Train an experiment in a new run directory.

    \b
    trainctl run experiments/cartpole_ppo.py
    trainctl run experiments/cartpole_ppo.py --set learning_rate=1e-3 --name first
    trainctl run experiments/cartpole_ppo.py --seeds 0-4 --jobs 2

    Exit codes: 0 done, 1 failed, 2 bad experiment or usage, 5 the run directory is in use, 6 non-finite loss or
    gradient, 7 environments keep failing, 75 preempted and saved, 130 Ctrl-C and saved.
    """
    refuse_if_example(experiment)

    def asked() -> RunOptions:
        from ..core.engine.adjustments import Adjustments
        from ..core.engine.options import RunOptions

        return RunOptions(
            experiment=experiment,
            settings=settings_of(settings),
            seed=seed or 0,
            device=device,
            deterministic=deterministic,
            compile=compiled,
            bfloat16=bfloat16,
            profile=profile,
            name=name,
            runs_dir=runs_dir,
            init_from=None if init_from is None else addressed(init_from),
            keep=keep,
            wandb=None if wandb is None else wandb.value,
            histograms=histograms,
            films=films,
            adjustments=Adjustments(first_stage=from_stage),
            fleet=fleet_of(nproc, nnodes, node_rank, rdzv_endpoint, max_restarts, quiet, plain),
        )

    if seeds is not None:
        from .many_seeds import train_seeds

        _refuse_beside_seeds({"--seed": seed is not None, "--profile": profile, "--nnodes": nnodes != "1"})
        words = ["run", str(experiment), *(f"--set={text}" for text in settings), "--runs-dir", str(runs_dir)]
        words += ["--device", device, "--nproc", str(nproc), "--max-restarts", str(max_restarts)]
        flags = {"deterministic": deterministic, "compile": compiled, "bfloat16": bfloat16}
        flags |= {"histograms": histograms, "films": films}
        words += [f"--{name}" for name, is_given in flags.items() if is_given]
        values = {"keep": keep, "wandb": wandb and wandb.value, "init-from": init_from, "from-stage": from_stage}
        words += [f"--{name}={value}" for name, value in values.items() if value is not None]
        train_seeds(words, asked, name or experiment.stem, runs_dir, seeds, jobs or 1, quiet, as_json)
    if jobs is not None:
        raise UsageError("--jobs says how many of the --seeds train at a time; there are no --seeds", _SEEDS)
    from ..core.engine.workers.final_failure import refuse_to_repeat_a_failure

    refuse_to_repeat_a_failure()  # before everything that takes seconds to import
    from .training import train

    options = asked()

    def begin(display: Display, request: StopRequest) -> Outcome:
        from ..core.engine.launch import start

        return start(options, display, ["trainctl", *sys.argv[1:]], request)

    train(begin, options.fleet, quiet, plain, as_json, experiment)


def _refuse_beside_seeds(given: Mapping[str, object]) -> None:
    for option in (option for option, is_given in given.items() if is_given):
        raise UsageError(f"{option} is for one run, and --seeds begins several", f"leave out {option} or --seeds")
