"""trainctl: the list of commands, and what all of them do with an error."""

from __future__ import annotations

import os
import sys
import traceback
from bdb import BdbQuit
from typing import Annotated, NoReturn

import typer

from . import (
    checkpoint,
    compare,
    debug_dump,
    doctor,
    evaluate,
    examples,
    export,
    inspect_pipeline,
    record,
    record_demonstrations,
    replay,
    report,
    resume,
    run,
    runs,
    slurm_script,
    sweep,
    tail,
    verify_resume,
)
from .failures import failure_of
from .output import lasting_output

_TRACEBACK = "TRAINCTL_TRACEBACK"

_SPINS = "1000"
"""How often torch's threads (GNU OpenMP) look for more to do before they sleep: for some 20 microseconds. By default it
is milliseconds, and two trainings that share two cores take twenty times as long as one."""

# "\b": typer leaves the lines of such a paragraph as they are
_HELP = """Train agents in stages: one file, one command, exact resume.

\b
First time:   trainctl examples cp cartpole_ppo  &&  trainctl run cartpole_ppo.py
Look at it:   tensorboard --logdir runs
"""

_EXIT_CODES = """\b
Exit codes:
  0  done                               5  run directory in use
  1  failed                             6  non-finite loss or gradient
  2  bad experiment or usage            7  environments keep failing
  3  checkpoint refused                75  preempted, saved: run again
  4  the experiment changed           130  Ctrl-C, saved
"""

app = typer.Typer(
    name="trainctl",
    help=_HELP,
    epilog=_EXIT_CODES,
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.command("run", short_help="Train an experiment.")(run.run)
app.command("sweep", short_help="Many runs with different parameters.")(sweep.sweep)
app.command("resume", short_help="Go on with a run.")(resume.resume)
app.command("inspect-pipeline", short_help="Show every stage with its settings.")(inspect_pipeline.inspect_pipeline)
app.command("evaluate", short_help="Play episodes with a trained model.")(evaluate.evaluate)
app.command("verify-resume", short_help="Prove that a killed run loses nothing.")(verify_resume.verify_resume)
app.add_typer(checkpoint.app, name="checkpoint", short_help="List, check and delete checkpoints.")
app.command("replay", short_help="See an episode of the training again.")(replay.replay)
app.command("debug-dump", short_help="Repeat an update with non-finite numbers.")(debug_dump.debug_dump)
app.command("record-demonstrations", short_help="Let an expert or a model play into a dataset.")(
    record_demonstrations.record_demonstrations
)
app.command("record", short_help="Film a trained model.")(record.record)
app.command("export", short_help="A trained model for other programs.")(export.export)
app.command("runs", short_help="Show all runs.")(runs.runs)
app.command("compare", short_help="What differs between runs.")(compare.compare)
app.command("report", short_help="A table over seeds, for a paper.")(report.report)
app.command("tail", short_help="Watch a run that trains elsewhere.")(tail.tail)
app.command("slurm-script", short_help="A batch file for a SLURM cluster.")(slurm_script.slurm_script)
app.command("doctor", short_help="Is this machine fit to train?")(doctor.doctor)
app.add_typer(examples.app, name="examples", short_help="List and copy the examples.")


def main(arguments: list[str] | None = None) -> NoReturn:
    """Run the command that the arguments (None: those of this process) name, and exit with its code."""
    words = sys.argv[1:] if arguments is None else arguments
    if "OMP_WAIT_POLICY" not in os.environ:
        os.environ.setdefault("GOMP_SPINCOUNT", _SPINS)  # read when torch is imported
    try:
        app(sorted(words, key=lambda word: word != "--traceback"), prog_name="trainctl")
    except (KeyboardInterrupt, BdbQuit):  # q in a debugger
        sys.exit(130)
    except Exception as error:
        sys.exit(_report(error))
    raise AssertionError("typer ends the program by itself")


def _report(error: Exception) -> int:
    """Say on stderr what went wrong; gives the exit code."""
    from ..core.engine.workers.first_error import write_error
    from .console import show_failure

    if os.environ.get(_TRACEBACK, "0") not in ("", "0"):
        traceback.print_exception(error)
    failure = failure_of(error)
    write_error(error, "\n".join(failure.complaints))
    with lasting_output():
        show_failure(failure.complaints, failure.next_steps)
    return failure.exit_code


def _show_version(asked: bool) -> None:
    if asked:
        from importlib.metadata import version

        typer.echo(f"trainctl {version('trainctl')}")
        raise typer.Exit


@app.callback()
def _options(
    _version: Annotated[
        bool,
        # by a callback, as it needs no command
        typer.Option("--version", help="Print the version and exit.", callback=_show_version, is_eager=True),
    ] = False,
    with_traceback: Annotated[
        bool, typer.Option("--traceback", help=f"Show Python's traceback of an error, like {_TRACEBACK}=1.")
    ] = False,
) -> None:
    if with_traceback:
        os.environ[_TRACEBACK] = "1"
