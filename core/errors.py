"""Every error trainctl raises on purpose, and what a fault in a user's file looks like.

TrainctlError                    exit code 1
├── UsageError                   2   the command line asks for something that cannot be
├── ExperimentError              2   the experiment file is wrong; holds every fault that was found
├── CheckpointError              3   a checkpoint is missing, damaged or does not fit
├── ExperimentChangedError       4   the experiment is no longer the one that wrote the checkpoint
├── RunInUseError                5   another process trains in this run directory
├── NonFiniteError               6   a loss or a gradient is not a finite number
├── WorkerLostError              1   another worker has ended: what is wrong is said there
└── EnvironmentFailure           7   the environments keep failing
"""

from __future__ import annotations

import ast
import contextlib
import difflib
import inspect
import linecache
import os
import sys
from collections.abc import Iterable, Iterator
from contextvars import ContextVar
from dataclasses import dataclass, replace
from pathlib import Path
from types import FunctionType


class TrainctlError(Exception):
    """An error with a message made for the user: what was asked, what was found, what to do next.

    * message: one or more lines of plain text.
    * hint: the next step, as a sentence or a command; empty if the message already says it.
    """

    exit_code = 1

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint

    def __str__(self) -> str:
        return f"{self.message}\n  {self.hint}" if self.hint else self.message

    def within(self, part: str) -> TrainctlError:
        """This error, saying in which part of the run it happened."""
        self.message = f"{part}: {self.message}"
        return self


class UsageError(TrainctlError):
    """The command line asks for something that cannot be."""

    exit_code = 2


class CheckpointError(TrainctlError):
    """A checkpoint is missing, damaged or does not fit what it is loaded into."""

    exit_code = 3


class ExperimentChangedError(TrainctlError):
    """The experiment is no longer the one that wrote the checkpoint."""

    exit_code = 4


class RunInUseError(TrainctlError):
    """Another live process trains in this run directory."""

    exit_code = 5


class WorkerLostError(TrainctlError):
    """Another worker has ended, or cannot be reached; what was wrong with it, it says itself."""


class NonFiniteError(TrainctlError):
    """A loss or a gradient is not a finite number; the optimizer has not stepped with it.

    evidence: the update that was not made, see `engine.non_finite.FailedUpdate`; None where nobody kept it.
    """

    exit_code = 6
    evidence: object = None


class EnvironmentFailure(TrainctlError):  # noqa: N818  # what happened, not a mistake of somebody's
    """An environment failed, or the environments fail more often than is allowed."""

    exit_code = 7


@dataclass(frozen=True)
class Location:
    """A line of the user's code. `line` counts from 1; 0 means the file as a whole."""

    file: str
    line: int = 0

    def __str__(self) -> str:
        """The file, relative to the current directory where it lies in it, and the line: "exp.py:12"."""
        near = os.path.relpath(self.file)
        file = self.file if near.startswith(os.pardir) else near
        return f"{file}:{self.line}" if self.line else file

    @property
    def source(self) -> str:
        """The text of the line, or an empty string where it cannot be read."""
        return linecache.getline(self.file, self.line).strip() if self.line else ""

    def of_argument(self, name: str) -> Location:
        """Where the call on this line passes the keyword argument `name`; the line itself if it does not."""
        with contextlib.suppress(SyntaxError):
            for node in ast.walk(ast.parse("".join(linecache.getlines(self.file)))):
                if isinstance(node, ast.Call) and node.lineno <= self.line <= (node.end_lineno or 0):
                    for keyword in node.keywords:
                        if keyword.arg == name and node.func.end_lineno == self.line:
                            return Location(self.file, keyword.value.lineno)
        return self


@dataclass(frozen=True)
class Fault:
    """One thing that is wrong in an experiment, where it stands, and what to do about it."""

    message: str
    location: Location | None = None
    hint: str = ""

    def __str__(self) -> str:
        lines = [self.message]
        if self.location is not None:
            lines.append(f"  --> {self.location}   {self.location.source}".rstrip())
        if self.hint:
            lines.append(f"  {self.hint}")
        return "\n".join(lines)


class ExperimentError(TrainctlError):
    """The experiment is wrong. `faults` lists everything that was found, not only the first."""

    exit_code = 2

    def __init__(self, faults: Iterable[Fault] | str, hint: str = "") -> None:
        self.faults = (Fault(faults, where(), hint),) if isinstance(faults, str) else tuple(faults)
        super().__init__("\n".join(str(fault) for fault in self.faults))

    def within(self, part: str) -> ExperimentError:
        """These faults, each saying in which part of the run it was found."""
        return ExperimentError(replace(fault, message=f"{part}: {fault.message}") for fault in self.faults)


_collected: ContextVar[list[Fault] | None] = ContextVar("collected_faults", default=None)


@contextlib.contextmanager
def collect_faults() -> Iterator[list[Fault]]:
    """Within this context `refuse` notes faults instead of raising, so that one run of a file shows all of them."""
    faults: list[Fault] = []
    token = _collected.set(faults)
    try:
        yield faults
    finally:
        _collected.reset(token)


def refuse(faults: Iterable[Fault]) -> None:
    """Raise `ExperimentError` with these faults, or note them within `collect_faults`. No faults: does nothing."""
    faults = tuple(faults)
    collected = _collected.get()
    if collected is not None:
        collected.extend(faults)
    elif faults:
        raise ExperimentError(faults)


def where() -> Location | None:
    """The innermost line of the user's code on the call stack: the one that led here.

    None where a command, not the user's code, led here.
    """
    frame = sys._getframe(1)
    while frame is not None and not frame.f_globals.get("__name__", "").startswith("trainctl.cli."):
        module, file = frame.f_globals.get("__name__", ""), frame.f_code.co_filename
        # "<string>": the __init__ that dataclasses generate
        if not is_library(module, file) and file != "<string>":
            return Location(file, frame.f_lineno)
        frame = frame.f_back  # type: ignore[assignment]
    return None


def written(function: object) -> Location | None:
    """Where the user's code defines this function; None for a library's, and for what is no function."""
    code = getattr(inspect.unwrap(function), "__code__", None) if callable(function) else None
    if code is None or is_library(getattr(function, "__module__", None) or "", code.co_filename):
        return None
    return Location(code.co_filename, code.co_firstlineno)


def is_ours_or_python(module: str) -> bool:
    """Whether a module of this name is a part of trainctl or of Python's standard library."""
    package = module.partition(".")[0]
    return package == "trainctl" or package in sys.stdlib_module_names


def is_library(module: str, file: str) -> bool:
    """Whether code of this module and file is trainctl's, Python's own or an installed package's: not the user's."""
    return is_ours_or_python(module) or not {"site-packages", "dist-packages"}.isdisjoint(Path(file).parts)


def shown(value: object) -> str:
    """A value as an error message shows it: short, and the same in each run (no addresses)."""
    if isinstance(value, type):
        return f"the class {value.__name__}"
    if isinstance(value, FunctionType):
        return f"the function {value.__name__}"
    if type(value).__repr__ is object.__repr__:
        return f"an object of the class {type(value).__name__}"
    text = " ".join(repr(value).split())
    return text if len(text) <= 80 else f"{text[:80]}…"


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """A sentence that lists the known words and names the nearest one, e.g. "known: 'a', 'b' (did you mean 'a'?)"."""
    known = list(known)
    near = difflib.get_close_matches(word, known, n=1)
    suggestion = f" (did you mean {near[0]!r}?)" if near else ""
    return f"known: {', '.join(repr(name) for name in known) or 'none'}{suggestion}"


def refuse_arguments(owner: str, **messages: str | None) -> None:
    """Refuse the arguments of `owner` for which there is a message; the fault points at the line that gives them."""
    place = where()
    refuse(
        Fault(f"{owner}: {message}", place.of_argument(name) if place else None)
        for name, message in messages.items()
        if message
    )
