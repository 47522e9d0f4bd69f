"""From an experiment file to the `Experiment` that it describes."""

from __future__ import annotations

import ast
import contextlib
import importlib
import importlib.machinery
import importlib.util
import inspect
import linecache
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

from .environment_ids import id_complaint
from .errors import ExperimentError, Fault, Location, collect_faults, did_you_mean, is_ours_or_python, refuse, shown
from .experiment import Experiment
from .parameters import parameters_of, place_of
from .pipeline import TrainingPipeline
from .source_files import with_what_they_name
from .users_code import is_users, users_code

_HOW_TO_RETURN = "end it with: return Experiment(environment=..., num_envs=..., model=..., pipeline=...)"
_HOW_TO_DEFINE = "write: def experiment(...) -> Experiment, with the hyperparameters as its parameters"


@dataclass(frozen=True)
class LoadedExperiment:
    """An experiment and where it comes from.

    * path: the file, absolute.
    * module_name: the name that the file is imported by.
    * parameters: every parameter of `experiment(...)` with the value in force.
    """

    experiment: Experiment
    path: Path
    module_name: str
    parameters: dict[str, Any]


def load_experiment(path: str | Path, settings: Mapping[str, str]) -> LoadedExperiment:
    """Import the file and call its function `experiment`.

    The file's folder comes first on `sys.path`, so that the file finds its neighbours; what it prints goes to stderr.
    What an earlier load imported is forgotten first: of two experiments in one process only the later one's classes
    can be pickled.

    * settings: what `--set` says, parameter -> text; see `parameters_of`.

    Raises `ExperimentError` that lists every fault that can be known without building anything.
    """
    with collect_faults() as faults:
        try:
            loaded = _load(_checked_file(Path(path)), settings)
        except ExperimentError as error:
            raise ExperimentError(dict.fromkeys([*faults, *error.faults])) from error.__cause__
    if faults:
        raise ExperimentError(dict.fromkeys(faults))
    return loaded


def source_files(loaded: LoadedExperiment) -> tuple[Path, ...]:
    """The experiment's file, and those of all modules that it imports from its folder, now or later."""
    source, _ = _files(loaded)
    return loaded.path, *sorted(source - {loaded.path})


def data_files(loaded: LoadedExperiment) -> list[Path]:
    """Other files and folders in the experiment's folder that its code names, see `with_what_they_name`."""
    source, named = _files(loaded)
    return sorted(named - source)


def _files(loaded: LoadedExperiment) -> tuple[set[Path], set[Path]]:
    """The source of an experiment, and that together with all that it names."""
    imported = {loaded.path, *(file for _, file in _users_modules(loaded.path.parent))}
    named = with_what_they_name(imported, loaded.path.parent)
    return imported | {file for file in named if file.suffix == ".py"}, named


def _load(file: Path, settings: Mapping[str, str]) -> LoadedExperiment:
    with _remembered_modules(file.parent):
        with users_code(file):
            module = _import(file)
        function = _experiment_function(module, file)
        parameters = parameters_of(function, settings)
        with users_code(file):
            experiment = function(**parameters)
        if not isinstance(experiment, Experiment):
            found = "nothing" if experiment is None else shown(experiment)
            text = f"experiment() returns {found}, not an Experiment"
            raise ExperimentError([Fault(text, place_of(function), _HOW_TO_RETURN)])
        with users_code(file):  # an id may name a module that registers it
            refuse(_id_faults(experiment))
    return LoadedExperiment(experiment, file, file.stem, parameters)


def _checked_file(path: Path) -> Path:
    """The path made absolute. Raises if no experiment can be imported from there."""
    file = path.expanduser().resolve()
    folder = file if file.is_dir() else file.parent
    files = sorted(found.name for found in folder.glob("*.py"))
    if file.is_dir():
        raise ExperimentError([Fault(f"{path} is a directory, not an experiment file", None, did_you_mean("", files))])
    if not file.exists():
        raise ExperimentError([Fault(f"there is no file {path}", None, did_you_mean(file.name, files))])
    if file.suffix != ".py":
        raise ExperimentError([Fault(f"{path} is no Python file", None, "an experiment is a file that ends in .py")])
    if why := _cannot_be_imported(file):
        raise ExperimentError([Fault(f"{path} cannot be an experiment: {why}", None, "give the file another name")])
    return file


def _cannot_be_imported(file: Path) -> str:
    imported = sys.modules.get(file.stem)
    installed = [folder for folder in sys.path if folder.endswith(("site-packages", "dist-packages"))]
    spec = importlib.machinery.PathFinder.find_spec(file.stem, installed)
    if "." in file.stem:
        return "the name of a module has no dots"
    if is_ours_or_python(file.stem) or (spec and spec.origin):
        return f"it would hide the module {file.stem!r}, which is installed"
    if file.stem not in _left_behind and imported and getattr(imported, "__file__", None) != str(file):
        return f"a module {file.stem!r} is imported already"
    return ""


def _import(file: Path) -> ModuleType:
    linecache.checkcache()
    importlib.invalidate_caches()
    # not import_module: a folder of the same name beside the file would be found before it
    spec = importlib.util.spec_from_file_location(file.stem, file)
    if spec is None or spec.loader is None:
        raise ImportError(f"{file} cannot be imported")
    module = importlib.util.module_from_spec(spec)
    sys.modules[file.stem] = module
    spec.loader.exec_module(module)
    return module


_left_behind: set[str] = set()  # the user's modules of the last load, and the folder that it put on sys.path


@contextlib.contextmanager
def _remembered_modules(folder: Path) -> Iterator[None]:
    """Begins without what the last load left behind, and notes what this one does."""
    for name in _left_behind:
        sys.modules.pop(name, None)
        with contextlib.suppress(ValueError):
            sys.path.remove(name)
    before = set(sys.modules)
    sys.path.insert(0, str(folder))
    try:
        yield
    finally:
        _left_behind.clear()
        _left_behind.update({str(folder)}, {name for name, _ in _users_modules(folder)} - before)


def _users_modules(folder: Path) -> list[tuple[str, Path]]:
    modules = [(name, getattr(module, "__file__", None)) for name, module in list(sys.modules.items())]
    return [
        (name, Path(file)) for name, file in modules if name != "__main__" and file and is_users(name, file, folder)
    ]


def _experiment_function(module: ModuleType, file: Path) -> Callable[..., Any]:
    found = getattr(module, "experiment", None)
    if found is None:
        raise ExperimentError([_no_function(module, file)])
    place = _place_of_name("experiment", file)
    if not callable(found):
        raise ExperimentError([Fault(f"experiment is {shown(found)}, not a function", place, _HOW_TO_DEFINE)])
    if inspect.iscoroutinefunction(found):
        raise ExperimentError([Fault("experiment is an async function", place, "write def instead of async def")])
    function: Callable[..., Any] = found
    return function


def _no_function(module: ModuleType, file: Path) -> Fault:
    own = {name: value for name, value in vars(module).items() if getattr(value, "__module__", None) == module.__name__}
    functions = [name for name, value in own.items() if inspect.isfunction(value)]
    pipelines = [name for name, value in vars(module).items() if isinstance(value, (TrainingPipeline, Experiment))]
    if pipelines:
        text = f"the file has no function `experiment`, only {pipelines[0]!r}"
        return Fault(text, _place_of_name(pipelines[0], file), f"{_HOW_TO_DEFINE}, that returns an Experiment")
    hint = did_you_mean("experiment", functions) if functions else _HOW_TO_DEFINE
    return Fault("the file has no function `experiment`", Location(str(file)), hint)


def _place_of_name(name: str, file: Path) -> Location:
    """Where the file binds a name at its top level; the file as a whole if it is imported there."""
    for node in reversed(ast.parse(file.read_bytes()).body):
        targets = node.targets if isinstance(node, ast.Assign) else [getattr(node, "target", node)]
        if name in [getattr(target, "id", getattr(target, "name", None)) for target in targets]:
            return Location(str(file), node.lineno)
    return Location(str(file))


def _id_faults(experiment: Experiment) -> Iterator[Fault]:
    for declaration in (
        experiment,
        *(experiment.pipeline if isinstance(experiment.pipeline, TrainingPipeline) else ()),
    ):
        environment = getattr(declaration, "environment", None)
        if isinstance(environment, str) and environment.strip() and (complaint := id_complaint(environment)):
            yield declaration.fault("environment", *complaint)
