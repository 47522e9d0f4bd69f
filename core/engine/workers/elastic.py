"""Several workers through torch.distributed's elastic launcher; nobody has to type torchrun."""

from __future__ import annotations

import os
import sys
import uuid
from pathlib import Path

import torch
from torch.distributed.elastic.multiprocessing import DefaultLogsSpecs, Std
from torch.distributed.elastic.multiprocessing.api import SignalException
from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
from torch.distributed.elastic.rendezvous import RendezvousConnectionError, RendezvousError
from torch.distributed.launcher.api import LaunchConfig, elastic_launch

from ...errors import TrainctlError, UsageError
from .addresses import address_towards, interface_with
from .first_error import first_error
from .signals import heeded_signals
from .workers import Fleet

SHUTDOWN_SECONDS = 30
"""How long workers that were told to stop may take to save before they are killed."""


class WorkerFailure(TrainctlError):  # noqa: N818 what failed is the worker
    """The workers failed for good. exit_code is that of the first worker, in time, that failed."""

    def __init__(self, message: str, hint: str, exit_code: int) -> None:
        super().__init__(message, hint)
        self.exit_code = exit_code


def launch_workers(arguments: list[str], fleet: Fleet, logs: Path, run_id: str) -> None:
    """Run `python -m trainctl ARGUMENTS` in every worker until all have ended well, or a signal has ended them.

    Raises WorkerFailure after the last restart, with the first worker that failed and its log.
    """
    least, most = _machines(fleet.nnodes)
    if most > 1 and not fleet.rdzv_endpoint:
        raise UsageError(
            f"--nnodes {fleet.nnodes} needs a meeting point", "add --rdzv-endpoint HOST:PORT, on all alike"
        )
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    if most > 1:
        # a store of its own for each round: a machine that comes back is not told of the launchers' common one
        os.environ["TORCH_DISABLE_SHARE_RDZV_TCP_STORE"] = "1"
    logs.mkdir(parents=True, exist_ok=True)
    config = LaunchConfig(
        min_nodes=least,
        max_nodes=most,
        nproc_per_node=fleet.nproc,
        logs_specs=_logs_of(fleet, logs),
        log_line_prefix_template=_NoPrefix(),
        run_id=run_id if most > 1 else uuid.uuid4().hex,
        rdzv_backend="c10d",
        rdzv_endpoint=fleet.rdzv_endpoint or "127.0.0.1:0",
        rdzv_configs={} if fleet.node_rank is None else {"is_host": fleet.node_rank == 0},
        local_addr=_local_address(fleet),
        max_restarts=fleet.max_restarts,
        signals_to_handle=",".join(number.name for number in heeded_signals()),
        shutdown_timeout=SHUTDOWN_SECONDS,
    )
    try:
        elastic_launch(config, sys.executable)("-m", "trainctl", *arguments)
    except SignalException:
        return  # the workers were told and have saved; what they wrote says how far they came
    except ChildFailedError as error:
        raise _failure(error, logs) from None
    except (RendezvousError, torch.distributed.DistError) as error:
        raise _not_together(error, fleet) from error


class _NoPrefix(str):
    """An empty prefix that is true: in place of a false one torch writes its own before each line."""

    __slots__ = ()

    def __bool__(self) -> bool:
        return True


def _logs_of(fleet: Fleet, folder: Path) -> DefaultLogsSpecs:
    """Each worker writes to files of its own, in a folder for each attempt. What the first one writes is shown here as
    well, unless it draws: then the terminal is its own.
    """
    shown = {} if fleet.draws else {0: Std.ALL}
    return DefaultLogsSpecs(str(folder), redirects=dict.fromkeys(range(1, fleet.nproc), Std.ALL), tee=shown)


def _local_address(fleet: Fleet) -> str:
    """Where the other workers find this machine; gloo is told the interface that goes with it."""
    if not fleet.rdzv_endpoint:
        return "127.0.0.1"
    try:
        address = address_towards(fleet.rdzv_endpoint)
    except (OSError, ValueError) as error:
        raise UsageError(
            f"there is no way to --rdzv-endpoint {fleet.rdzv_endpoint}: {error}", "write HOST:PORT"
        ) from None
    if interface := interface_with(address):
        os.environ.setdefault("GLOO_SOCKET_IFNAME", interface)
    return address


def _machines(nnodes: str) -> tuple[int, int]:
    try:
        least, _, most = nnodes.partition(":")
        numbers = int(least), int(most or least)
    except ValueError:
        numbers = (0, 0)
    if not 1 <= numbers[0] <= numbers[1]:
        raise UsageError(f"--nnodes {nnodes!r} is no number of machines", "write e.g. 2, or 1:4 for one to four")
    return numbers


def _not_together(error: Exception, fleet: Fleet) -> TrainctlError:
    """The machines could not meet, or meet no longer."""
    lost = isinstance(error, (RendezvousConnectionError, torch.distributed.DistNetworkError))
    where = f"the machine where all meet, {fleet.rdzv_endpoint}, " if fleet.rdzv_endpoint else "the launcher's store "
    text = f"{where}does not answer" if lost else f"the other machines did not come: {error}"
    return TrainctlError(
        text, "type the same command on all machines again: the run goes on from its newest checkpoint"
    )


def _failure(error: ChildFailedError, logs: Path) -> WorkerFailure:
    rank, code, text = first_error(error.failures)
    how = f"was killed by signal {-code}" if code < 0 else text or f"ended with exit code {code}"
    return WorkerFailure(
        f"worker {rank}{'' if code < 0 else ':'} {how}",
        f"it was the first that failed, and the restarts are used up; what the workers wrote: {logs}",
        code if 2 <= code <= 7 else 1,
    )
