"""`trainctl` in processes of its own, which tests may kill. They are forked from a server that has imported everything
and done nothing, so each is as new as one that was typed, and two seconds earlier."""

from __future__ import annotations

import json
import multiprocessing
import os
import signal
import sys
import time
from collections.abc import Callable, Mapping
from multiprocessing.context import ForkServerProcess
from pathlib import Path
from typing import Any

from trainctl.core.engine.commands.run_comparison import Difference, compare
from trainctl.core.engine.commands.verify_resume import PRELOADED
from trainctl.core.engine.saving.checkpoint import list_checkpoints, verify
from trainctl.core.engine.saving.run_directory import RunDirectory

EXPERIMENTS = Path(__file__).parent / "experiments"


class Command:
    """A command that runs in the folder, in a process group of its own. What it says is in files there.

    environment: variables that it finds besides those of the tests.
    """

    def __init__(self, folder: Path, *words: object, environment: Mapping[str, str] | None = None) -> None:
        context = multiprocessing.get_context("forkserver")
        context.set_forkserver_preload(PRELOADED)
        number = len(list(folder.glob("err-*.txt")))
        self.out, self.err = folder / f"out-{number}.txt", folder / f"err-{number}.txt"
        self.out.touch()
        self.err.touch()
        arguments = (folder, self.out, self.err, dict(environment or {}), [str(word) for word in words])
        self.process: ForkServerProcess = context.Process(target=_command, args=arguments)
        self.process.start()

    @property
    def pid(self) -> int:
        assert self.process.pid is not None
        return self.process.pid

    def wait(self, seconds: float = 120) -> int:
        """The exit code."""
        self.process.join(seconds)
        if self.process.exitcode is None:
            self.process.kill()
            raise AssertionError(f"it did not end:\n{self.said()}")
        return self.process.exitcode

    def wait_until(self, condition: Callable[[], bool], seconds: float = 60) -> None:
        """Until the condition holds, or the command has ended."""
        end = time.monotonic() + seconds
        while not condition() and self.process.is_alive() and time.monotonic() < end:
            time.sleep(0.005)

    def wait_until_it_listens(self) -> None:
        """Until a signal is no longer the end of it."""
        self.wait_until(lambda: bool(_caught(self.pid) >> (signal.SIGUSR1 - 1) & 1))

    def said(self) -> str:
        """What it has written to stdout and to stderr."""
        return "".join(path.read_text("utf-8", "replace") for path in (self.out, self.err))


def _caught(pid: int) -> int:
    """The signals that a process has handlers for, as Linux tells it."""
    try:
        status = Path(f"/proc/{pid}/status").read_text("utf-8")
    except OSError:
        return 0
    return int(status.split("SigCgt:")[1].split()[0], 16)


def _command(folder: Path, out: Path, err: Path, environment: dict[str, str], words: list[str]) -> None:
    os.setpgid(0, 0)
    signal.signal(signal.SIGHUP, signal.SIG_DFL)  # the tests may run under nohup
    os.chdir(folder)
    os.environ.update(environment)
    os.dup2(os.open(out, os.O_WRONLY), 1)
    os.dup2(os.open(err, os.O_WRONLY), 2)
    from trainctl.cli.app import main

    try:
        main(words)
    except SystemExit as ended:
        sys.stderr.flush()
        os._exit(ended.code if isinstance(ended.code, int) else 1)


def trainctl(folder: Path, *words: object) -> int:
    """The exit code of a command that nobody disturbs."""
    return Command(folder, *words).wait()


def settings(**values: Any) -> list[str]:
    """As the command line wants them."""
    return [word for name, value in values.items() for word in ("--set", f"{name}={value}")]


def run_of(folder: Path, name: str) -> RunDirectory:
    return RunDirectory(folder / "runs" / name)


def record(folder: Path, name: str) -> dict[str, Any]:
    found: dict[str, Any] = run_of(folder, name).read_run()
    return found


def lines(folder: Path, name: str) -> list[dict[str, Any]]:
    """What `metrics.jsonl` holds; nothing before its first line is there."""
    path = run_of(folder, name).metrics
    return [json.loads(line) for line in path.read_text("utf-8").splitlines()] if path.exists() else []


def checkpoints(folder: Path, name: str) -> list[str]:
    return [path.name for path in list_checkpoints(run_of(folder, name).checkpoints)]


def damaged(folder: Path, name: str) -> list[str]:
    """The checkpoints that are listed and not valid."""
    return [path.name for path in list_checkpoints(run_of(folder, name).checkpoints) if verify(path)]


def difference(folder: Path, one: str, other: str) -> Difference | None:
    """Where two runs part, in a tensor, a counter or a metric."""
    return compare(run_of(folder, one), run_of(folder, other)).difference
