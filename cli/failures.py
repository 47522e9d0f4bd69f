"""From an exception to what its reader needs: what went wrong, on which line, what to do, and the exit code."""

from __future__ import annotations

import traceback
from dataclasses import dataclass, replace

from ..core.errors import ExperimentError, Fault, Location, TrainctlError, is_library


@dataclass(frozen=True)
class Failure:
    """What is said about an error.

    * complaints: one text for each fault; its first line says what, the indented ones where, and what to do.
    * next_steps: lines about the run: its last checkpoint, the command that goes on.
    """

    complaints: list[str]
    next_steps: list[str]
    exit_code: int


def failure_of(error: Exception) -> Failure:
    """What to say about an error. Next steps are the notes that were added to it (`BaseException.add_note`)."""
    notes = list(getattr(error, "__notes__", ()))
    if isinstance(error, ExperimentError):
        place = users_line(error.__cause__) if error.__cause__ else None
        return Failure([str(_located(fault, place)) for fault in error.faults], notes, error.exit_code)
    if isinstance(error, TrainctlError):
        return Failure([str(error)], notes, error.exit_code)
    return Failure([str(_fault_of(error))], notes, 1)


def _located(fault: Fault, place: Location | None) -> Fault:
    """The fault, at this place if it has none of its own."""
    return fault if fault.location else replace(fault, location=place)


def _fault_of(error: Exception) -> Fault:
    """An exception that nobody foresaw, at the innermost line of the user's code."""
    message = f"{type(error).__name__}: {error}".removesuffix(": ")
    place = users_line(error)
    if place is None:
        return Fault(message, None, "no line of the experiment was running; --traceback shows where it happened")
    return Fault(message, place, "--traceback shows how it came there")


def users_line(error: BaseException) -> Location | None:
    """The innermost line of the traceback that is neither trainctl's nor an installed library's."""
    for frame, line in reversed(list(traceback.walk_tb(error.__traceback__))):
        module, file = frame.f_globals.get("__name__", ""), frame.f_code.co_filename
        if module != "__main__" and not is_library(module, file):
            return Location(file, line)
    return None
