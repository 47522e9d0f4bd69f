"""`trainctl examples`: the experiments that come with trainctl, to look at and to copy."""

from __future__ import annotations

import ast
import shutil
from pathlib import Path
from typing import Annotated

import typer

from ..core.errors import UsageError, did_you_mean
from .options import AsJson
from .output import print_document

_FIRST = "cartpole_ppo"

app = typer.Typer(no_args_is_help=True, rich_markup_mode=None, help="The experiments that come with trainctl.")


def complete_examples(incomplete: str) -> list[str]:
    """The names that begin like this, for the shell."""
    return [name for name in sorted(_examples()) if name.startswith(incomplete)]


@app.command("ls")
def ls(as_json: AsJson = False) -> None:
    """List the examples, each with the first line of what it says of itself."""
    from .console import show_lines, show_table

    titles = {name: _title(file) for name, file in _examples().items()}
    titles = dict(sorted(titles.items(), key=_simple_first))
    if as_json:
        print_document([{"name": name, "title": title} for name, title in titles.items()])
        return
    show_table(["example", ""], titles.items(), whole_names=True)
    show_lines([f"copy one:  trainctl examples cp {_FIRST}"])


@app.command("cp")
def cp(
    name: Annotated[
        str,
        typer.Argument(metavar="NAME", help="As ls shows it.", show_default=False, autocompletion=complete_examples),
    ],
    to: Annotated[Path, typer.Argument(metavar="DIR|FILE", help="Where to.")] = Path("."),
    force: Annotated[bool, typer.Option("--force", help="Overwrite a file that is there.")] = False,
) -> None:
    """Copy an example, to change it and run it.

    \b
    trainctl examples cp cartpole_ppo
    trainctl examples cp cartpole_ppo my_experiment.py
    """
    examples = _examples()
    stem = name.removesuffix(".py").replace("-", "_")
    if stem not in examples:
        raise UsageError(f"there is no example {name!r}", did_you_mean(stem, examples))
    target = to / examples[stem].name if to.is_dir() else to
    if target.exists() and not force:
        raise UsageError(f"{target} is there already", "name another file, or overwrite it with --force")
    try:
        shutil.copyfile(examples[stem], target)
    except OSError as error:
        raise UsageError(f"{target} cannot be written: {error.strerror}", "name a folder that is there") from error
    typer.echo(f"{target}\ntrain it:  trainctl run {target}")


def _examples() -> dict[str, Path]:
    """Name -> file: of an installation beside the package's other folders, of a checkout in `experiments/`."""
    package = Path(__file__).resolve().parent.parent
    for folder in (package / "examples", package / "experiments"):
        if folder.is_dir():
            return {file.stem: file for file in folder.glob("*.py")}
    raise UsageError("this installation has no examples", "install trainctl anew")


def refuse_if_example(path: Path) -> None:
    """Raise `UsageError`, with the command that copies it, if there is no such file and an example is called so."""
    if path.exists() or path.name.removesuffix(".py") not in (examples := _examples()):
        return
    file = examples[path.name.removesuffix(".py")].name
    hint = f"there is an example of this name: trainctl examples cp {path.stem}  &&  trainctl run {file}"
    raise UsageError(f"there is no file {path}", hint)


def _simple_first(example: tuple[str, str]) -> tuple[bool, bool, str]:
    """The one to begin with, those that need nothing more, and those that need an extra; by name."""
    name, title = example
    return "pip install" in title, name != _FIRST, name


def _title(file: Path) -> str:
    """The first line of a file's docstring; nothing of it is run."""
    return (ast.get_docstring(ast.parse(file.read_text())) or "").partition("\n")[0]
