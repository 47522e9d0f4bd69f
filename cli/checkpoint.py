"""`trainctl checkpoint`: what a run has saved: list it, check it, delete what is old."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ..core.errors import UsageError
from .options import AsJson
from .output import print_document

if TYPE_CHECKING:
    from ..core.engine.saving.run_directory import RunDirectory

app = typer.Typer(no_args_is_help=True, help="Checkpoints of a run: list, check, delete.", rich_markup_mode=None)

Run = Annotated[Path, typer.Argument(metavar="RUN|CHECKPOINT", help="A run directory or a checkpoint in it.")]


@app.command("ls", short_help="List the checkpoints of a run.")
def ls(path: Run, as_json: AsJson = False) -> None:
    """List the checkpoints of a run, oldest first: steps, stage, guarantee, size. Every byte of them is checked."""
    from .console import show_table

    rows = list(_listed(_directory(path)))
    if as_json:
        print_document(rows)
        return
    header = ["checkpoint", "steps", "stage", "guarantee", "size", ""]
    show_table(header, [[str(value) for value in _shown(row)] for row in rows])


@app.command("verify", short_help="Check every byte of every checkpoint.")
def verify(path: Run, as_json: AsJson = False) -> None:
    """Check the checkpoints of a run (or one checkpoint): SHA-256 of every file, nothing is unpickled.

    Exit codes: 0 all are valid, 3 one is not.
    """
    from ..core.engine.saving.checkpoint import list_checkpoints
    from ..core.engine.saving.checkpoint import verify as fault_of
    from .console import show_lines

    directory = _directory(path)
    paths = list_checkpoints(directory.checkpoints) if _is_all(path, directory) else [path]
    faults = {one: fault_of(one) for one in paths}
    if as_json:
        print_document([{"checkpoint": str(one), "valid": not fault, "reason": fault} for one, fault in faults.items()])
    else:
        bad = sum(fault is not None for fault in faults.values())
        lines = [f"{one.name}  {fault or 'valid'}" for one, fault in faults.items()]
        show_lines([f"{len(faults)} checkpoints, {bad} of them damaged", *lines])
    raise typer.Exit(3 if any(faults.values()) else 0)


@app.command("prune", short_help="Delete old checkpoints.")
def prune(
    path: Run,
    keep: Annotated[int, typer.Option("--keep", metavar="K", min=0, help="How many of the newest stay.")],
    as_json: AsJson = False,
) -> None:
    """Delete all checkpoints but the last K, every stage's last, and the newest that is valid and healthy.

    What was set aside (damaged, or of a branch that was left) is deleted as well.
    """
    from ..core.engine.saving.checkpoint_directory import remove_set_aside
    from ..core.engine.saving.retention import retain
    from .console import show_lines

    directory, problems = _directory(path), list[str]()
    with directory.lock():
        gone = retain(directory.checkpoints, keep, problems.append) + remove_set_aside(directory.checkpoints)
    if problems:
        raise UsageError(problems[0])
    if as_json:
        print_document([str(one) for one in gone])
    else:
        show_lines([f"{len(gone)} deleted", *(one.name for one in gone)])


def _directory(path: Path) -> RunDirectory:
    from ..core.engine.saving.run_directory import RunDirectory

    return RunDirectory.of_checkpoint(path)


def _is_all(path: Path, directory: RunDirectory) -> bool:
    return path.resolve() in (directory.path.resolve(), directory.checkpoints.resolve())


def _listed(directory: RunDirectory) -> Iterator[dict[str, object]]:
    from ..core.engine.saving.checkpoint import list_checkpoints
    from ..core.engine.saving.checkpoint_manifest import examine

    for path in list_checkpoints(directory.checkpoints):
        manifest, reason = examine(path)
        about = manifest["about"] if reason is None else {}
        size = sum(file.stat().st_size for file in path.iterdir() if file.is_file())
        yield {
            "checkpoint": str(path),
            "total_steps": int(path.name.removeprefix("step-")),
            "stage": about.get("stage"),
            "stage_ended": about.get("stage_ended"),
            "guarantee": about.get("guarantee"),
            "bytes": size,
            "valid": reason is None,
            "reason": reason,
        }


def _shown(row: dict[str, object]) -> list[object]:
    from .text import size

    note = row["reason"] or ("the stage's end" if row["stage_ended"] else "")
    steps, count = row["total_steps"], row["bytes"]
    assert isinstance(steps, int)
    assert isinstance(count, int)
    name = Path(str(row["checkpoint"])).name
    return [name, f"{steps:,}", row["stage"] or "?", row["guarantee"] or "?", size(count), note]
