"""Running the user's code: what it prints goes to stderr, what it raises becomes a fault on its line."""

from __future__ import annotations

import contextlib
import difflib
import importlib
import inspect
import re
import sys
import traceback
from collections.abc import Iterable, Iterator
from pathlib import Path
from types import FrameType, ModuleType
from typing import Any

from .errors import ExperimentError, Fault, Location, did_you_mean, is_library

_EXTRAS = {"minigrid": "minigrid", "ale_py": "atari", "mujoco": "mujoco", "minari": "demos", "optuna": "sweep"}
_UNEXPECTED = re.compile(r"(?P<called>\S+)\(\) got an unexpected keyword argument '(?P<argument>\w+)'")
_HOMES = ("trainctl", "trainctl.losses", "trainctl.models")


@contextlib.contextmanager
def users_code(file: Path) -> Iterator[None]:
    """Within this context the code of an experiment file runs.

    Whatever it raises, `SystemExit` included, is raised on as an `ExperimentError` with the innermost line that lies in
    the file's folder. Only Ctrl-C goes through.
    """
    try:
        with contextlib.redirect_stdout(sys.stderr):
            yield
    except ExperimentError:
        raise
    except (Exception, SystemExit) as error:
        raise ExperimentError([fault_of(error, file)]) from error


def is_users(module: str, file: str | None, folder: Path) -> bool:
    """Whether a module is the user's own: in the experiment's folder, and not installed there."""
    return isinstance(file, str) and not is_library(module, file) and Path(file).is_relative_to(folder)


def fault_of(error: BaseException, file: Path) -> Fault:
    """What an exception of the user's code says, where it was raised, and what to do."""
    frame, location = _innermost(error, file)
    if isinstance(error, SyntaxError) and error.filename and Path(error.filename).is_absolute():
        message = f"{type(error).__name__}: {error.msg}"
        return Fault(message, Location(error.filename, error.lineno or 0))
    if isinstance(error, SystemExit):
        hint = 'what should happen only when the file is run by itself belongs under `if __name__ == "__main__":`'
        return Fault(f"the file ends the program: SystemExit: {error.code}", location, hint)
    if isinstance(error, ImportError):
        message = str(error).removesuffix(f" ({error.path})")
        return Fault(f"{type(error).__name__}: {message}", location, _import_hint(error, file))
    if isinstance(error, TypeError) and (asked := _UNEXPECTED.match(str(error))):
        return _unexpected_argument(asked["called"], asked["argument"], frame, location)
    hint = _name_hint(error, frame) if isinstance(error, NameError) else ""
    text = str(error).replace(".__init__()", "()")
    return Fault(f"{type(error).__name__}: {text}".removesuffix(": "), location, hint)


def _innermost(error: BaseException, file: Path) -> tuple[FrameType | None, Location]:
    """The last frame of the traceback that is the user's, and its line; the file as a whole if there is none."""
    for frame, line in reversed(list(traceback.walk_tb(error.__traceback__))):
        name = frame.f_code.co_filename
        if is_users(frame.f_globals.get("__name__", ""), name, file.parent):
            return frame, Location(name, line)
    return None, Location(str(file))


def _import_hint(error: ImportError, file: Path) -> str:
    package = (error.name or "").partition(".")[0]
    if "circular import" in str(error) or error.name == file.stem:
        return "two files import each other, or a file imports itself: move what both need into a third one"
    if asked := re.match(r"cannot import name '(\w+)'", str(error)):
        return _where_a_name_is(asked[1], error.name or "")
    if package in _EXTRAS:
        return f'pip install "trainctl[{_EXTRAS[package]}]"'
    neighbour = _nearest(package, sorted(path.stem for path in file.parent.glob("*.py")))
    return neighbour or "install it where trainctl is installed, or put the file beside the experiment"


def _where_a_name_is(name: str, module: str) -> str:
    if module in _HOMES and (home := _home_of(name)):
        return home
    return _nearest(name, dir(sys.modules.get(module)))


def _home_of(name: str) -> str:
    """Which module of trainctl's public ones has this name, as a line to write."""
    for home in _HOMES:
        with contextlib.suppress(ImportError):
            if name in getattr(importlib.import_module(home), "__all__", ()):
                return f"write: from {home} import {name}"
    return ""


def _name_hint(error: NameError, frame: FrameType | None) -> str:
    name = error.name or ""
    return _home_of(name) or _nearest(name, [*frame.f_locals, *frame.f_globals] if frame else [])


def _nearest(name: str, known: Iterable[str]) -> str:
    near = difflib.get_close_matches(name, known, n=1)
    return f"did you mean {near[0]!r}?" if near else ""


def _unexpected_argument(called: str, argument: str, frame: FrameType | None, location: Location) -> Fault:
    """Names the arguments that there are, for a call that gave another one."""
    called = called.removesuffix(".__init__").removesuffix(".__new__")
    hint = ""
    with contextlib.suppress(TypeError, ValueError):
        hint = did_you_mean(argument, inspect.signature(_called(called, frame)).parameters)
    return Fault(f"{called} takes no argument {argument!r}", location.of_argument(argument), hint)


def _called(name: str, frame: FrameType | None) -> Any:
    """What the user's line calls by this name, also as `module.name`."""
    known = {**frame.f_globals, **frame.f_locals} if frame else {}
    modules = [value for value in known.values() if isinstance(value, ModuleType)]
    return known.get(name) or next((found for module in modules if (found := getattr(module, name, None))), None)
