"""Failures that another attempt would only repeat: workers that the launcher starts again give up at once."""

from __future__ import annotations

import os
from pathlib import Path

from ..errors import TrainctlError
from .run_directory import RunDirectory, last_status

FINAL = {2, 3, 4, 6}
"""Exit codes of such failures."""


def refuse_to_repeat_a_failure(path: Path) -> None:
    """Raise the error with which the attempt before has ended, if it was final, in a worker that was started again."""
    if int(os.environ.get("TORCHELASTIC_RESTART_COUNT", "0")) == 0:
        return
    record = RunDirectory.of_checkpoint(path).read_run()
    if last_status(record) == "failed" and record.get("exit_code") in FINAL:
        error = TrainctlError(record["error"])
        error.exit_code = record["exit_code"]
        raise error
