"""The plan of the house, and the rules that keep it so.

``HOUSE`` is the architecture diagram: read it from top to bottom. A file may import from its own floor and from
the floors below it, never from one above, not even for a type.
"""

from __future__ import annotations

import ast
import subprocess
import sys
from graphlib import CycleError, TopologicalSorter
from pathlib import PurePosixPath

import pytest

from tests.house import HOUSE
from tests.source_tree import (
    ROOT,
    Sources,
    absolute_imports,
    attributes,
    everything,
    is_within,
    loading,
    package,
    relative_imports,
    sources,
    unsafe_calls,
)

# The words that a command reads before it knows whether it will train.
TORCHLESS = ["builder", "early_stopping", "errors", "experiment", "metrics", "pipeline", "schedules", "settings"]
# The few files of the package that may know a library.
ONLY_IMPORTERS = {
    "rich": ("cli/console.py", "cli/console_live.py", "cli/console_progress.py"),
    "torch.distributed": ("core/engine/workers/workers.py", "core/engine/workers/elastic.py"),
}
MAX_LINES = 300


def floor_of(file: PurePosixPath | str) -> int | None:
    """The floor's index in HOUSE, or None for a file that the plan does not know."""
    name = str(PurePosixPath(file).with_suffix(""))
    found = [(len(room), i) for i, (_, rooms) in enumerate(HOUSE) for room in rooms if is_within(name, room, "/")]
    return max(found)[1] if found else None


def upward_imports(files: Sources) -> list[str]:
    faults = []
    for file, tree in files.items():
        for line, target in relative_imports(file, tree, files):
            here, there = floor_of(file), floor_of(target)
            if here is not None and there is not None and there < here:
                faults.append(
                    f"{file}:{line} ({HOUSE[here][0]}) imports {target} ({HOUSE[there][0]}), which is above it"
                )
    return faults


def circle_of(files: Sources) -> list[str]:
    """Files that need each other to be loaded, the first one repeated at the end; empty where there is no circle."""
    graph = {
        str(file.with_suffix("")): [target for _, target in relative_imports(file, loading(tree), files)]
        for file, tree in files.items()
    }
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        return list(reversed(error.args[1]))
    return []


def house_of(**texts: str) -> Sources:
    """``house_of(core__errors="…")``: a made-up tree to try the rules on."""
    return {PurePosixPath(name.replace("__", "/") + ".py"): ast.parse(text) for name, text in texts.items()}


def check(faults: list[str]) -> None:
    if faults:
        pytest.fail("\n".join(faults), pytrace=False)


# The plan


def test_every_file_stands_on_a_floor() -> None:
    how = "is not in the plan: add it to HOUSE in tests/test_architecture.py, on the lowest floor that will do"
    check([f"{file} {how}" for file in package() if floor_of(file) is None])


def test_every_room_of_the_plan_is_there() -> None:
    rooms = [room for _, rooms in HOUSE for room in rooms]
    check(
        [
            f"{room} is in HOUSE, not on disk"
            for room in rooms
            if not list(ROOT.glob(f"{room}.py")) and not (ROOT / room).is_dir()
        ]
    )


def test_imports_go_down_only() -> None:
    check(upward_imports(package()))


def test_no_files_import_each_other_in_a_circle() -> None:
    assert not circle_of(package()), " imports ".join(circle_of(package()))


@pytest.mark.parametrize(
    "text",
    [
        "from .engine.trainer import Trainer",
        "from .engine import trainer",
        "def late():\n    from .engine.trainer import Trainer",
        "if TYPE_CHECKING:\n    from .engine.trainer import Trainer",
        "from .. import Builder",
        "from ..cli.app import main",
    ],
)
def test_a_planted_upward_import_is_caught(text: str) -> None:
    house = house_of(core__builder=text, core__engine__trainer="", cli__app="", trainctl____init__="")
    assert len(upward_imports(house)) == 1


def test_a_downward_import_is_none_and_a_planted_circle_is_caught() -> None:
    house = house_of(
        trainctl__x="from .core.pipeline import A", core__pipeline="from .builder import B", core__builder=""
    )
    assert (upward_imports(house), circle_of(house)) == ([], [])
    house |= house_of(core__builder="from .pipeline import A")
    assert sorted(set(circle_of(house))) == ["core/builder", "core/pipeline"]


def test_no_file_is_longer_than_300_lines() -> None:
    lengths = {file: len((ROOT / file).read_text("utf-8").splitlines()) for file in everything()}
    check([f"{file} has {length} lines: split it" for file, length in lengths.items() if length > MAX_LINES])


# Who may import what


def test_the_package_imports_itself_relatively_and_nobody_imports_core_or_cli() -> None:
    """``import core`` would load a second copy of every class."""
    inside = package()
    check(
        [
            f"{file}:{line} imports {module}: say trainctl.… outside the package, and import relatively inside it"
            for file, tree in everything().items()
            for line, module in absolute_imports(tree)
            if module.split(".")[0] in ("core", "cli", *(["trainctl"] if file in inside else []))
        ]
    )


@pytest.mark.parametrize("library", ONLY_IMPORTERS)
def test_only_a_few_files_know(library: str) -> None:
    check(
        [
            f"{file}:{line} uses {name}: only {ONLY_IMPORTERS[library]} may know {library}"
            for file, tree in package().items()
            for line, name in [*absolute_imports(tree), *attributes(tree)]
            if is_within(name, library, ".") and str(file) not in ONLY_IMPORTERS[library]
        ]
    )


def test_an_experiment_never_imports_the_engine() -> None:
    check(
        [
            f"{file}:{line} imports {module}: what an experiment needs belongs to the words"
            for file, tree in sources("experiments").items()
            for line, module in absolute_imports(tree)
            if is_within(module, "trainctl.core.engine", ".")
        ]
    )


def test_nothing_is_unpickled_or_evaluated() -> None:
    files = package() | sources("experiments")
    check([f"{file}:{line} {what}" for file, tree in files.items() for line, what in unsafe_calls(tree)])


@pytest.mark.parametrize(
    "text",
    [
        "import pickle",
        "from pickle import load",
        "eval('1')",
        "torch.load(path)",
        "torch.load(path, weights_only=safe)",
        "load(path, weights_only=False)",
        "numpy.load(path, allow_pickle=True)",
    ],
)
def test_a_planted_unsafe_call_is_caught(text: str) -> None:
    assert list(unsafe_calls(ast.parse(text)))
    assert not list(unsafe_calls(ast.parse("torch.load(path, weights_only=True); model.eval()")))


# What is loaded when


def test_the_words_load_no_torch() -> None:
    words = {name: sources("core")[PurePosixPath(f"core/{name}.py")] for name in TORCHLESS}
    check(
        [
            f"core/{name}.py:{line} loads {module} at once: import it in the function that needs it"
            for name, tree in words.items()
            for line, module in absolute_imports(loading(tree))
            if is_within(module, "torch", ".")
        ]
    )


def test_a_planted_torch_is_found_unless_it_is_late_or_for_types() -> None:
    early = "try:\n    import torch.nn\nexcept ImportError: pass\nclass A:\n    from torch import nn"
    late = "def f():\n    import torch\nif TYPE_CHECKING:\n    import torch\nelse:\n    import math"
    assert [module for _, module in absolute_imports(loading(ast.parse(early)))] == ["torch.nn", "torch.nn"]
    assert [module for _, module in absolute_imports(loading(ast.parse(late)))] == ["math"]


@pytest.mark.parametrize("program", ["import trainctl", "runpy.run_module('trainctl', run_name='__main__')"])
def test_torch_is_loaded_neither_by_the_import_nor_by_the_help(program: str) -> None:
    at_exit = "atexit.register(lambda: print('torch' in sys.modules, 'trainctl' in sys.modules))"
    command = [sys.executable, "-c", f"import atexit, runpy, sys; {at_exit}; {program}", "--help"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == "False True"
