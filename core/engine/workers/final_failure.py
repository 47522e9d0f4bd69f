"""Failures that another attempt would only repeat: workers that the launcher starts again give up at once."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from ...errors import TrainctlError
from .first_error import ERROR_FILE, errors_in

FINAL = {2, 3, 4, 6}
"""Exit codes of such failures."""


class FailedBefore(TrainctlError):  # noqa: N818  # what happened, not a mistake of somebody's
    """What has ended the attempt before would end this one as well.

    left: what the worker that failed first has left of its error.
    """

    def __init__(self, left: dict[str, Any]) -> None:
        super().__init__(left["message"])
        self.left = left
        self.exit_code = left["exit_code"]


def refuse_to_repeat_a_failure() -> None:
    """In a worker that was started again, raise FailedBefore if the attempt before has ended with a final failure."""
    attempt = int(os.environ.get("TORCHELASTIC_RESTART_COUNT", "0"))
    if attempt == 0 or not (file := os.environ.get(ERROR_FILE)):
        return
    errors = errors_in(Path(file).parent.parent.with_name(f"attempt_{attempt - 1}"))
    final = [left for left in errors if left.get("exit_code") in FINAL]
    if final:
        raise FailedBefore(min(final, key=lambda left: left["time"]))
