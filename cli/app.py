"""trainctl: the list of commands, and what all of them do with an error."""

from __future__ import annotations

import os
import sys
import traceback
from typing import Annotated, NoReturn

import typer

from . import evaluate, inspect_pipeline, resume, run
from .failures import failure_of

_TRACEBACK = "TRAINCTL_TRACEBACK"

_HELP = """Train agents in stages: one file, one command, exact resume.

First time:  trainctl run experiments/cartpole_ppo.py
"""

_EXIT_CODES = """Exit codes: 0 done · 1 failed · 2 bad experiment or usage · 3 checkpoint refused ·
4 the experiment changed since the checkpoint · 5 run directory in use · 6 non-finite loss or gradient ·
7 environments keep failing · 75 preempted, saved: run again · 130 Ctrl-C, saved.
"""

app = typer.Typer(
    name="trainctl",
    help=_HELP,
    epilog=_EXIT_CODES,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.command("run")(run.run)
app.command("resume")(resume.resume)
app.command("inspect-pipeline")(inspect_pipeline.inspect_pipeline)
app.command("evaluate")(evaluate.evaluate)


def main(arguments: list[str] | None = None) -> NoReturn:
    """Run the command that the arguments (None: those of this process) name, and exit with its code."""
    words = sys.argv[1:] if arguments is None else arguments
    try:
        app(sorted(words, key=lambda word: word != "--traceback"), prog_name="trainctl")
    except KeyboardInterrupt:
        sys.exit(130)
    except Exception as error:
        sys.exit(_report(error))
    raise AssertionError("typer ends the program by itself")


def _report(error: Exception) -> int:
    """Say on stderr what went wrong; gives the exit code."""
    from .console import show_failure

    if os.environ.get(_TRACEBACK, "0") not in ("", "0"):
        traceback.print_exception(error)
    failure = failure_of(error)
    show_failure(failure.complaints, failure.next_steps)
    return failure.exit_code


@app.callback()
def _options(
    context: typer.Context,
    version: Annotated[bool, typer.Option("--version", help="Print the version and exit.", is_eager=True)] = False,
    with_traceback: Annotated[
        bool, typer.Option("--traceback", help=f"Show Python's traceback of an error, like {_TRACEBACK}=1.")
    ] = False,
) -> None:
    if version:
        from importlib.metadata import version as installed

        typer.echo(f"trainctl {installed('trainctl')}")
        raise typer.Exit
    if with_traceback:
        os.environ[_TRACEBACK] = "1"
