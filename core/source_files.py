"""The files of an experiment: what its code imports and names in its folder, and what that code says."""

from __future__ import annotations

import ast
import hashlib
import io
import os
import tokenize
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

from .errors import is_library, is_ours_or_python


def with_what_they_name(files: Iterable[Path], folder: Path) -> set[Path]:
    """These files of a folder and what their code names there, and what that names, and so on. Nothing is run.

    * Modules that are imported anywhere, also within functions, or that a text names: "maze", "maze:Maze".
    * Files and folders that a text names, beside the file or beside the experiment: "demos.pt".
    """
    found, left = set[Path](), list(files)
    while left:
        file = left.pop()
        if file not in found:
            found.add(file)
            left += _named_in(file, folder) if file.suffix == ".py" else []
    return found


def code_of(files: Iterable[Path], folder: Path) -> dict[str, str]:
    """For each file, by its name in the folder, a fingerprint of its code: comments and empty lines do not count."""
    return {
        file.relative_to(folder).as_posix(): hashlib.sha256(_without_comments(file)).hexdigest()[:16] for file in files
    }


def edited(before: Mapping[str, str], now: Mapping[str, str]) -> list[str]:
    """The names of the files whose code, see `code_of`, no file had before; {} before: nobody knows, so none."""
    return [name for name, code in now.items() if before and code not in before.values()]


def _named_in(file: Path, folder: Path) -> Iterator[Path]:
    for candidate in _candidates(file, folder):
        path = Path(os.path.normpath(candidate))
        is_within = path.is_relative_to(folder) and not file.is_relative_to(path)
        if is_within and not is_library("", str(path)) and os.path.exists(path):  # Path.exists raises for long texts
            yield path


def _candidates(file: Path, folder: Path) -> Iterator[Path]:
    """Where what the code of a file names would be."""
    for node in ast.walk(_parsed(file)):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield from _modules(folder, alias.name)
        elif isinstance(node, ast.ImportFrom):
            for alias in node.names:
                name = f"{node.module or ''}.{alias.name}".removeprefix(".")
                yield from _modules(file.parents[node.level - 1], f".{name}") if node.level else _modules(folder, name)
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield from _modules(folder, node.value.partition(":")[0])
            yield from (file.parent / node.value, folder / node.value)


def _modules(base: Path, name: str) -> Iterator[Path]:
    """The files of a module and of the packages it is in; one whose name begins with a dot is beside who imports it."""
    parts = name.removeprefix(".").split(".")
    if all(part.isidentifier() for part in parts) and not is_ours_or_python(name):
        for depth in range(len(parts)):
            place = base.joinpath(*parts[:depth])
            yield from (place / f"{parts[depth]}.py", place / parts[depth] / "__init__.py")


def _parsed(file: Path) -> ast.Module:
    try:
        return ast.parse(file.read_bytes())
    except (OSError, SyntaxError, ValueError):
        return ast.Module([], [])  # whoever imports it will hear of it


def _without_comments(file: Path) -> bytes:
    """The code of a Python file; the content of any other."""
    content = file.read_bytes()
    try:
        lines = content.decode().splitlines()
        for token in tokenize.generate_tokens(io.StringIO("\n".join(lines)).readline):
            if token.type == tokenize.COMMENT:
                row, column = token.start
                lines[row - 1] = lines[row - 1][:column]
    except (UnicodeDecodeError, SyntaxError, tokenize.TokenError):
        return content
    return "\n".join(line.rstrip() for line in lines if line.strip()).encode()
