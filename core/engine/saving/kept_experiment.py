"""A run's own copy of its experiment, from which it goes on."""

from __future__ import annotations

import contextlib
import os
import shutil
from pathlib import Path

from ...errors import UsageError
from ...experiment_file import LoadedExperiment, data_files, source_files

COPIED_BYTES = 1 << 20
"""What is larger than settings and maps is not copied for each run: a link leads to it."""


def keep_experiment(loaded: LoadedExperiment, folder: Path) -> None:
    """Copy the source of an experiment, each file to its place, and what it names beside itself.

    Small files are copied; to larger ones and to folders leads a link. Raises `UsageError` if source cannot be copied.
    """
    root = loaded.path.parent
    for file in source_files(loaded):
        target = folder / file.relative_to(root)
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(file, target)
        except OSError as error:
            raise UsageError(f"{file} cannot be copied to {target}: {error.strerror}") from error
    for path in data_files(loaded):
        if not folder.absolute().is_relative_to(path):  # a link to where it lies itself would have no end
            with contextlib.suppress(OSError):  # a text that is by chance the name of a file must not stop a run
                _keep(path, folder / path.relative_to(root))


def _keep(data: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    if os.path.lexists(target):
        return  # in a folder that is linked, or that source is in
    if data.is_file() and data.stat().st_size <= COPIED_BYTES:
        shutil.copyfile(data, target)
    else:
        target.symlink_to(data.resolve())
