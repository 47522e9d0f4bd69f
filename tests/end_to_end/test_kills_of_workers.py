"""kill -9 of one of two workers at any moment: all go back to the newest checkpoint, and the end has the same bits."""

from __future__ import annotations

import contextlib
import json
import os
import random
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.end_to_end.test_several_workers import command, train, weights

SAVES = ("--set", "save=200")


@pytest.mark.parametrize("kills", [1, pytest.param(20, marks=[pytest.mark.soak, pytest.mark.timeout(3600)])])
def test_a_worker_killed_at_any_moment_changes_nothing(kills: int, tmp_path: Path) -> None:
    moments = random.Random(kills)
    first = weights(train(tmp_path, "first", *SAVES), tmp_path, "first")
    done = 0
    for number in range(10 * kills):
        name = f"killed-{number}"
        done += killed_once(tmp_path, name, moments)
        assert weights(None, tmp_path, name) == first
        if done == kills:
            break
    assert done == kills


def killed_once(folder: Path, name: str, moments: random.Random) -> bool:
    """Train to the end, and kill a worker on the way. False: it had ended before."""
    with launched(folder, name) as process:
        delay, chosen = moments.uniform(0.0, 6.0), moments.randrange(2)
        while len(workers := children(process.pid)) < 2 and process.poll() is None:
            time.sleep(0.01)
        time.sleep(delay)
        with contextlib.suppress(ProcessLookupError):
            os.kill(workers[chosen], signal.SIGKILL)
        output, said = process.communicate(timeout=240)
        assert process.returncode == 0, (delay, chosen, said)
        assert json.loads(output)["status"] == "complete"
        assert left_behind(folder / "runs" / name) == []
    return "exitcode: -9" in said


@contextlib.contextmanager
def launched(folder: Path, name: str) -> Iterator[subprocess.Popen[str]]:
    """The launcher of two workers; nothing of it is left after this context, whatever happens in it."""
    words = command(folder, name, *SAVES)
    with subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        try:
            yield process
        finally:
            process.kill()


def children(launcher: int) -> list[int]:
    """The workers of a launcher."""
    try:
        return [int(word) for word in Path(f"/proc/{launcher}/task/{launcher}/children").read_text().split()]
    except OSError:
        return []


def left_behind(run: Path) -> list[int]:
    """Processes that were started as workers of this run, or by one, and live."""
    found = []
    for environment in Path("/proc").glob("[0-9]*/environ"):
        with contextlib.suppress(OSError):
            if f"TORCHELASTIC_ERROR_FILE={run}".encode() in environment.read_bytes():
                found.append(int(environment.parent.name))
    return found
