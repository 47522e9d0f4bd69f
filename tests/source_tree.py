"""Reads the sources as syntax trees, for test_architecture.py. A file is named by its path below the root."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

ROOT = Path(__file__).resolve().parent.parent
Sources = dict[PurePosixPath, ast.Module]
Found = Iterator[tuple[int, str]]  # (line, what stands there)


def sources(*folders: str) -> Sources:
    """Each Python file below ``folders``; the links inside trainctl/ are not followed, so each file comes once.

    What a hidden folder holds, e.g. a virtual environment, is not ours.
    """
    paths = [path for folder in folders for path in sorted((ROOT / folder).rglob("*.py")) if path == path.resolve()]
    paths = [path for path in paths if "/." not in path.relative_to(ROOT).as_posix()]
    return {PurePosixPath(path.relative_to(ROOT).as_posix()): ast.parse(path.read_text("utf-8")) for path in paths}


def package() -> Sources:
    return sources("trainctl", "cli", "core")


def everything() -> Sources:
    return package() | sources("tests", "experiments", "benchmarks")


def is_within(name: str, whole: str, separator: str) -> bool:
    """``torch.distributed.rpc`` is within ``torch.distributed``, ``core/losses/ppo`` within ``core/losses``."""
    return name == whole or name.startswith(whole + separator)


def absolute_imports(tree: ast.AST) -> Found:
    """``from a import b`` gives "a.b"."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, name.name) for name in node.names)
        elif isinstance(node, ast.ImportFrom) and not node.level:
            yield from ((node.lineno, f"{node.module}.{name.name}") for name in node.names)


def attributes(tree: ast.AST) -> Found:
    """``torch.distributed.barrier()`` gives "torch.distributed.barrier" and what it is made of."""
    return ((node.lineno, ast.unparse(node)) for node in ast.walk(tree) if isinstance(node, ast.Attribute))


def relative_imports(file: PurePosixPath, tree: ast.AST, files: Sources) -> Found:
    """The imported files, without ".py"; imports for type checkers and inside functions count as well."""
    known = {str(known.with_suffix("")) for known in files}
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.level:
            base = _real_path(file.parents[node.level - 1], node.module or "")
            for name in node.names:
                candidates = [f"{base}/{name.name}", f"{base}/{name.name}/__init__", f"{base}", f"{base}/__init__"]
                yield node.lineno, next((target for target in candidates if target in known), str(base))


def _real_path(folder: PurePosixPath, module: str) -> PurePosixPath:
    """``from ..core`` in cli/ and ``from .core`` in trainctl/ both mean the folder core/."""
    path = folder.joinpath(*module.split("."))
    through_a_link = path.parts[:2] in (("trainctl", "core"), ("trainctl", "cli"))
    return path.relative_to("trainctl") if through_a_link else PurePosixPath(path if path.parts else "trainctl")


def loading(tree: ast.AST) -> ast.Module:
    """Only the imports that run when the module is imported: not those in functions or under TYPE_CHECKING."""
    return ast.Module(list(_imports_when_loaded(tree)), [])


def _imports_when_loaded(tree: ast.AST) -> Iterator[ast.stmt]:
    for child in ast.iter_child_nodes(tree):
        if isinstance(child, ast.Import | ast.ImportFrom):
            yield child
        elif isinstance(child, ast.If) and ast.unparse(child.test).endswith("TYPE_CHECKING"):
            yield from _imports_when_loaded(ast.Module(child.orelse, []))
        elif not isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
            yield from _imports_when_loaded(child)


def unsafe_calls(tree: ast.AST) -> Found:
    """Whatever runs or unpickles what stands in a file."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            called = ast.unparse(node.func)
            arguments = {keyword.arg: ast.unparse(keyword.value) for keyword in node.keywords}
            if called in ("eval", "exec"):
                yield node.lineno, f"{called}()"
            if called == "torch.load" and arguments.get("weights_only") != "True":
                yield node.lineno, "torch.load() without weights_only=True"
            if arguments.get("weights_only", "True") != "True" or arguments.get("allow_pickle", "False") != "False":
                yield node.lineno, f"{called}() may unpickle"
    for line, module in absolute_imports(tree):
        if module.split(".")[0] in ("pickle", "cloudpickle", "dill", "joblib", "shelve"):
            yield line, f"import {module}"
