"""Where SLURM has put the launchers of a job, as the variables tell that `srun` sets for each of its tasks."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import replace

from ...errors import UsageError
from .workers import Fleet

FIRST_PORT, PORTS = 10_000, 20_000
"""Below the ports that Linux gives away by itself; a job of another number meets at another one."""


def placed_by_slurm(fleet: Fleet, environment: Mapping[str, str] = os.environ) -> Fleet:
    """The fleet with the machines of this job step, this machine's number, and a meeting point on the first of them.

    Raises `UsageError` outside of `srun`, and where there is not one task for each machine.
    """
    try:
        machines, tasks = int(environment["SLURM_STEP_NUM_NODES"]), int(environment["SLURM_STEP_NUM_TASKS"])
        number, job = int(environment["SLURM_NODEID"]), int(environment["SLURM_JOB_ID"])
        first = first_host(environment["SLURM_STEP_NODELIST"])
    except (KeyError, ValueError) as error:
        text = f"--nnodes slurm needs the variables that srun sets, e.g. {error}"
        raise UsageError(text, "start it with srun, or see: trainctl slurm-script --help") from None
    if tasks != machines:
        text = f"srun has started {tasks} tasks on {machines} machines, but a launcher starts its workers by itself"
        raise UsageError(text, "write srun --ntasks-per-node=1, and trainctl run … --nproc N")
    if machines == 1:
        return replace(fleet, nnodes="1", node_rank=None, rdzv_endpoint="")
    endpoint = f"{first}:{FIRST_PORT + job % PORTS}"
    return replace(fleet, nnodes=str(machines), node_rank=number, rdzv_endpoint=endpoint)


def first_host(nodelist: str) -> str:
    """The first name of a list as SLURM writes it: "gpu[07-09,12],login" begins with "gpu07"."""
    first = re.split(r",(?![^\[]*\])", nodelist)[0]
    return re.sub(r"\[([^\],-]+)[^\]]*\]", r"\1", first)
