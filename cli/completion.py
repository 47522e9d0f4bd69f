"""What the shell offers when a run is asked for. It reads names only, so that the answer comes at once."""

from __future__ import annotations

from pathlib import Path


def complete_runs(incomplete: str) -> list[str]:
    """The runs, and within a run the checkpoints, whose paths begin like this.

    With nothing typed: those of `runs/`.
    """
    typed = Path(incomplete or "runs/")
    folder = typed if not incomplete or incomplete.endswith("/") else typed.parent
    return [str(path) for path in [*_runs_in(folder), *_checkpoints_of(folder)] if str(path).startswith(str(typed))]


def _runs_in(folder: Path) -> list[Path]:
    """The runs of a folder, and of the folder `runs` in it. One that is only being made is hidden, and none."""
    found = [*folder.glob("[!.]*/run.json"), *folder.glob("runs/[!.]*/run.json")]
    return sorted(file.parent for file in found)


def _checkpoints_of(folder: Path) -> list[Path]:
    found = [*folder.glob("checkpoints/step-*/manifest.json"), *folder.glob("step-*/manifest.json")]
    return sorted(file.parent for file in found)
