"""`trainctl record-demonstrations`: an expert or a trained model plays into a Minari dataset."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from .options import AsJson, CheckpointOption, Device, Quiet, Settings, settings_of
from .output import print_document, standard_output

if TYPE_CHECKING:
    from ..core.engine.playing.demonstration_recorder import Player, Recording
    from ..core.experiment import EnvironmentSource


def record_demonstrations(
    experiment: Annotated[Path, typer.Argument(help="Python file with a function `experiment`.", show_default=False)],
    settings: Settings,
    output: Annotated[
        str, typer.Option(metavar="NAME", help='Of the new dataset, e.g. "doorkey/expert-v0".', show_default=False)
    ],
    episodes: Annotated[int, typer.Option(min=1, help="How many episodes to record.")] = 100,
    checkpoint: CheckpointOption = None,
    deterministic: Annotated[
        bool, typer.Option("--deterministic/--sample", help="How a checkpoint's model acts.")
    ] = True,
    seed: Annotated[int, typer.Option(min=0, help="The same seed records the same episodes.")] = 0,
    device: Device = "auto",
    quiet: Quiet = False,
    as_json: AsJson = False,
) -> None:
    """Record episodes of the environment's expert, or with --checkpoint of a trained model, as a Minari dataset.

    \b
    trainctl record-demonstrations experiments/doorkey_demonstrations.py --episodes 500 --output doorkey/expert-v0
    """
    from ..core.engine.playing.demonstration_recorder import new_dataset_path, record_demonstrations
    from ..core.experiment_file import load_experiment
    from .console_progress import progress_bar

    with standard_output(reserved=as_json):
        new_dataset_path(output)
        loaded = load_experiment(experiment, settings_of(settings))
        player, source, who = _player(loaded.experiment.environment, checkpoint, deterministic, seed, device)
        description = f"recorded by trainctl: {who} in {experiment.name}, seed {seed}"
        with progress_bar(f"{who} plays", episodes, visible=not quiet) as advance:
            recording = record_demonstrations(source, player, episodes, output, seed, description, advance)
    if as_json:
        print_document(_as_json(recording))
    else:
        _show(recording)


def _player(
    environment: EnvironmentSource, checkpoint: Path | None, deterministic: bool, seed: int, device: str
) -> tuple[Player, EnvironmentSource, str]:
    """Who plays, where, and who that is in words."""
    from ..core.engine.playing.demonstration_recorder import ExpertPlayer, ModelPlayer
    from ..core.engine.saving.from_checkpoint import open_model
    from .console import warn

    if checkpoint is None:
        return ExpertPlayer(), environment, "the expert"
    opened = open_model(checkpoint, device, warn=warn)
    player = ModelPlayer(opened.model, opened.device, seed, deterministic)
    return player, opened.environment, f"the model of {opened.checkpoint.path.name}"


def _as_json(recording: Recording) -> dict[str, Any]:
    numbers = {"episodes": recording.episodes, "steps": recording.steps, "left_out": recording.left_out}
    return {"dataset": recording.dataset, "path": str(recording.path), **numbers, "means": recording.means}


def _show(recording: Recording) -> None:
    from .console import show_lines
    from .text import counted, number

    left_out = f", {recording.left_out:,} left out: no action somewhere in them" if recording.left_out else ""
    means = [f"mean {name:<12} {number(mean)}" for name, mean in recording.means.items()]
    size = f"{counted(recording.episodes, 'episode')}{left_out}, {recording.steps:,} steps, in {recording.path}"
    show_lines([recording.dataset, size, *means])
