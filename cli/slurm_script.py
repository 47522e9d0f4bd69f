"""`trainctl slurm-script`: a batch file that trains on a SLURM cluster, saves before its time is up, and goes on."""

from __future__ import annotations

import re
import shlex
import sys
from pathlib import Path
from typing import Annotated

import typer

from ..core.errors import UsageError
from .options import Settings, set_words, settings_of

SCRIPT = """\
#!/bin/bash
{headers}

# one launcher on each machine; what it says is in this job's output
srun --kill-on-bad-exit=0 {command} &
launchers=$!

# SLURM warns this shell before the time is up; srun hands the signal on to the launchers, which save and end with 75
trap 'warned=1; kill -USR1 "$launchers"' USR1
trap 'warned=1; kill -TERM "$launchers"' TERM
code=1 warned=1
while [ "$warned" = 1 ]; do
    warned=0
    wait "$launchers"
    code=$?
done

if [ "$code" = 75 ]; then
    scontrol requeue "$SLURM_JOB_ID"
fi
exit "$code"
"""


def slurm_script(
    experiment: Annotated[
        Path,
        typer.Argument(metavar="EXPERIMENT", help="A Python file with a function `experiment`.", show_default=False),
    ],
    settings: Settings,
    sbatch: Annotated[
        list[str],
        typer.Option(
            metavar="KEY=VALUE",
            help="More for SLURM, e.g. partition=gpu. Repeatable.",
            default_factory=list,
            show_default=False,
        ),
    ],
    seed: Annotated[int, typer.Option(metavar="N", min=0, help="Everything random follows from it.")] = 0,
    name: Annotated[
        str | None, typer.Option(metavar="NAME", help="Of the run and the job.  [default: EXPERIMENT-sSEED]")
    ] = None,
    runs_dir: Annotated[
        Path, typer.Option(metavar="DIR", help="Where run directories are; all machines must see it.")
    ] = Path("runs"),
    nodes: Annotated[int, typer.Option("--nnodes", metavar="N", min=1, help="Machines.")] = 1,
    nproc: Annotated[int, typer.Option("--nproc", metavar="N", min=1, help="Workers on each machine.")] = 1,
    time: Annotated[str, typer.Option(metavar="TIME", help="Of one go, as SLURM writes it.")] = "04:00:00",
    grace: Annotated[int, typer.Option(metavar="SECONDS", min=1, help="To save before the time is up.")] = 120,
) -> None:
    """Print a batch file for SLURM. The job saves before its time is up, is queued again, and goes on where it was.

    \b
    trainctl slurm-script experiments/cartpole_ppo.py --nnodes 2 --nproc 4 --sbatch partition=cpu > job.sh
    sbatch job.sh
    """
    if not experiment.is_file():
        raise UsageError(f"there is no file {experiment}", "name the file with the function `experiment`")
    if not _TIME.fullmatch(time):
        raise UsageError(
            f"--time {time} is no time as SLURM writes it",
            "write hours:minutes:seconds, as 04:00:00, or 2-00:00:00 for days",
        )
    name = name or f"{experiment.stem}-s{seed}"
    headers = {
        "job-name": name,
        "nodes": str(nodes),
        "ntasks-per-node": "1",
        "cpus-per-task": str(nproc),
        "time": time,
        "signal": f"B:USR1@{grace}",
        "requeue": "",
        "open-mode": "append",
        "output": f"{name}-%j.log",
        **_headers(sbatch),
    }
    command = [sys.executable, "-m", "trainctl", "run", str(experiment), "--name", name, "--seed", str(seed)]
    command += [*set_words(settings_of(settings)), "--runs-dir", str(runs_dir)]
    command += ["--nproc", str(nproc), "--nnodes", "slurm", "--plain"]
    lines = [f"#SBATCH --{key}={value}" if value else f"#SBATCH --{key}" for key, value in headers.items()]
    typer.echo(SCRIPT.format(headers="\n".join(lines), command=shlex.join(command)), nl=False)


_TIME = re.compile(r"\d+(:\d+(:\d+)?)?|\d+-\d+(:\d+(:\d+)?)?")
"""Minutes, minutes:seconds, hours:minutes:seconds; days-hours, days-hours:minutes, days-hours:minutes:seconds."""


def _headers(texts: list[str]) -> dict[str, str]:
    """KEY=VALUE, or KEY alone."""
    return {key.removeprefix("--"): value for key, _, value in (text.partition("=") for text in texts)}
