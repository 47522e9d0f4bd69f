"""`trainctl export`: a trained model for other programs."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from .options import AsJson, CheckpointArgument, CheckpointOption, one_path
from .output import print_document, standard_output


class Format(StrEnum):
    """What is written."""

    safetensors = "safetensors"
    pt2 = "pt2"
    onnx = "onnx"


def export(
    path: CheckpointArgument = None,
    checkpoint: CheckpointOption = None,
    form: Annotated[
        Format,
        typer.Option(
            "--format", help="The parameters, a program that needs torch alone, or one for ONNX (extra `onnx`)."
        ),
    ] = Format.safetensors,
    output: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Where to.  [default: RUN/export/CHECKPOINT]", show_default=False)
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Write a model and contract.json, which says what goes in and what comes out; both are read back and checked.

    \b
    trainctl export runs/first@best
    trainctl export runs/first --format pt2 --output policy
    trainctl export runs/first --format onnx
    """
    from ..core.engine.commands.export import export as write
    from ..core.engine.saving.from_checkpoint import open_model
    from ..core.engine.saving.run_directory import RunDirectory
    from .console import warn

    chosen = one_path(path, checkpoint, "export")
    with standard_output(reserved=as_json):
        opened = open_model(chosen, "cpu", warn=warn)
        folder = output or RunDirectory.of_checkpoint(chosen).path / "export" / opened.checkpoint.path.name
        files = write(opened, folder, form.value)
    if as_json:
        print_document({"checkpoint": str(opened.checkpoint.path), "files": [str(file) for file in files]})
    else:
        typer.echo("\n".join(str(file) for file in files))
