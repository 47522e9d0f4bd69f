"""`trainctl inspect-pipeline`: every stage with the settings in force, and of a run where it stands."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ..core.errors import UsageError
from .options import AsJson, Device, Settings, settings_of
from .output import print_document, standard_output

if TYPE_CHECKING:
    from ..core.engine.commands.dry_run import DryRun
    from ..core.engine.workers.dealing import Share
    from ..core.experiment_file import LoadedExperiment


def inspect_pipeline(
    path: Annotated[
        Path,
        typer.Argument(
            metavar="EXPERIMENT|RUN|CHECKPOINT",
            help="An experiment file, or what has become of one.",
            show_default=False,
        ),
    ],
    settings: Settings,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Build everything, train one rollout of each stage, write nothing.")
    ] = False,
    nproc: Annotated[
        int | None,
        typer.Option("--nproc", metavar="N", min=1, help="Show what each of N workers gets.", show_default=False),
    ] = None,
    seed: Annotated[int, typer.Option(metavar="N", min=0, help="Of the run, for --nproc.")] = 0,
    device: Device = "auto",
    as_json: AsJson = False,
) -> None:
    """Show the stages with every setting in force; trains nothing and writes nothing.

    \b
    trainctl inspect-pipeline experiments/cartpole_ppo.py --set steps=50_000
    trainctl inspect-pipeline experiments/cartpole_ppo.py --dry-run
    trainctl inspect-pipeline experiments/cartpole_ppo.py --nproc 4
    """
    from ..core.description import describe
    from ..core.engine.workers.dealing import shares

    with standard_output(reserved=as_json):
        loaded, position = _load(path, settings_of(settings))
        rehearsal = _rehearse(loaded, device) if dry_run else None
        dealt = shares(loaded.experiment, nproc, seed) if nproc else []
    if as_json:
        document = {"experiment": str(loaded.path), **describe(loaded.experiment)}
        workers = [share.to_json() for share in dealt] or None
        extra = {"run": position, "dry_run": rehearsal and rehearsal.to_json(), "workers": workers}
        print_document(document | {name: value for name, value in extra.items() if value is not None})
    else:
        _show(loaded, position, rehearsal, dealt)


def _load(path: Path, settings: dict[str, str]) -> tuple[LoadedExperiment, dict[str, Any] | None]:
    """The experiment, and where it stands if the path leads to a run."""
    from ..core.engine.saving.run_directory import RunDirectory
    from ..core.experiment_file import load_experiment

    is_missing = not path.exists() and any(path.absolute().parent.glob("*.py"))
    if path.suffix == ".py" or path.is_file() or is_missing:
        return load_experiment(path, settings), None
    if settings:
        raise UsageError(f"--set cannot change {path}: the settings of a run are fixed", "inspect its experiment file")
    from ..core.engine.saving.from_checkpoint import load_run
    from .position import position_of

    directory = RunDirectory.of_checkpoint(path)
    loaded = load_run(directory)
    return loaded, position_of(directory, path, loaded.experiment)


def _rehearse(loaded: LoadedExperiment, device: str) -> DryRun:
    from ..core.engine.commands.dry_run import dry_run
    from ..core.engine.device import prepare

    return dry_run(loaded.experiment, 0, prepare(device, deterministic=False))


def _show(
    loaded: LoadedExperiment, position: dict[str, Any] | None, rehearsal: DryRun | None, dealt: list[Share]
) -> None:
    from .console import show_lines, show_stages
    from .dry_run_text import dry_run_lines
    from .pipeline_table import LEGEND, headline, rows
    from .position import position_line
    from .workers_text import workers_lines

    names = loaded.experiment.pipeline.stage_names()
    show_lines([loaded.path.name, *headline(loaded.experiment)])
    show_stages([f"{number} {name}" for number, name in enumerate(names, start=1)], rows(loaded.experiment), LEGEND)
    if position is not None:
        show_lines([position_line(position, len(names))])
    if rehearsal is not None:
        show_lines(dry_run_lines(rehearsal))
    if dealt:
        show_lines(workers_lines(dealt))
