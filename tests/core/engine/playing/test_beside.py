from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable

import numpy as np
import pytest
import torch

from tests.waiting import has_ended, wait_until
from trainctl.core.engine.environments.channel import shared_array
from trainctl.core.engine.playing.beside import Beside

Stop = Callable[[], bool]


def never() -> bool:
    return False


class Waiting:
    """Work that says who does it, and goes on when it may."""

    def __init__(self) -> None:
        self.pid, self.may_go_on = shared_array((1,), np.dtype(np.int64)), shared_array((1,), np.dtype(bool))

    def __call__(self, stop_requested: Stop) -> bytes:
        self.pid[0] = os.getpid()
        while not self.may_go_on[0]:
            stop_requested()
            time.sleep(0.001)
        return b"done"

    def begun(self) -> int:
        """The process that does it, as soon as it has begun."""
        while not self.pid[0]:
            time.sleep(0.001)
        return int(self.pid[0])


def is_gone(process: int) -> bool:
    """Whether nothing is left of a child, not even its exit code."""
    try:
        os.waitpid(process, os.WNOHANG)
    except ChildProcessError:
        return True
    return False


def test_it_computes_from_everything_as_it_was_and_gives_more_than_a_pipe_holds() -> None:
    number = torch.tensor(7)
    beside = Beside(lambda stop_requested: bytes([int(number)]) * 300_000, timeout=60)
    number += 1
    assert beside.result(never) == b"\x07" * 300_000


def test_it_is_done_when_the_work_is_and_leaves_no_process() -> None:
    work = Waiting()
    beside = Beside(work, timeout=60)
    process = work.begun()
    assert not beside.is_done
    work.may_go_on[0] = True
    assert beside.result(never) == b"done"
    assert is_gone(process)


def test_work_that_raises_has_no_result() -> None:
    beside = Beside(lambda stop_requested: b"%d" % (1 // 0), timeout=60)
    assert beside.result(never) is None


def test_work_that_is_killed_has_no_result() -> None:
    work = Waiting()
    beside = Beside(work, timeout=60)
    os.kill(work.begun(), signal.SIGKILL)
    assert beside.result(never) is None
    assert is_gone(work.begun())


def test_work_that_does_not_look_for_too_long_is_killed() -> None:
    work = Waiting()

    def hang(stop_requested: Stop) -> bytes:
        work.pid[0] = os.getpid()
        signal.pause()
        return b"never"

    beside = Beside(hang, timeout=0.1)
    process = work.begun()
    assert beside.result(never) is None
    assert is_gone(process)


@pytest.mark.parametrize("end", [Beside.close, lambda beside: beside.result(lambda: True)], ids=["closed", "stopped"])
def test_it_ends_at_once_when_nobody_wants_it_any_more(end: Callable[[Beside], object]) -> None:
    work = Waiting()
    beside = Beside(work, timeout=60)
    process = work.begun()
    assert not end(beside)
    assert is_gone(process)
    assert beside.is_done


def test_a_program_that_it_has_started_ends_with_it() -> None:
    work, program = Waiting(), shared_array((1,), np.dtype(np.int64))

    def start_a_program(stop_requested: Stop) -> bytes:
        program[0] = subprocess.Popen(["sleep", "1000"]).pid
        return work(stop_requested)

    beside = Beside(start_a_program, timeout=60)
    work.begun()
    beside.close()
    wait_until(lambda: has_ended(program[0]))


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGUSR1])
def test_a_signal_to_the_whole_group_is_not_for_it(number: signal.Signals) -> None:
    work = Waiting()
    beside = Beside(work, timeout=60)
    os.kill(work.begun(), number)
    work.may_go_on[0] = True
    assert beside.result(never) == b"done"


def test_it_needs_no_lock_that_a_thread_holds_at_this_moment(monkeypatch: pytest.MonkeyPatch) -> None:
    class Locked:
        def write(self, text: str) -> int:
            signal.pause()  # as a display's stream whose lock nobody releases
            return 0

    def work(stop_requested: Stop) -> bytes:
        print("an environment says hello", flush=True)
        print("and complains", file=sys.stderr)
        return b"%d" % torch.get_num_threads()

    monkeypatch.setattr(sys, "stdout", Locked())
    monkeypatch.setattr(sys, "stderr", Locked())
    beside = Beside(work, timeout=20)
    assert beside.result(never) == b"1"


def test_where_there_is_no_room_for_a_process_there_is_no_child(monkeypatch: pytest.MonkeyPatch) -> None:
    def refused() -> int:
        raise BlockingIOError("Resource temporarily unavailable")

    monkeypatch.setattr(os, "fork", refused)
    assert Beside(lambda stop_requested: b"7", timeout=60).result(never) is None


def test_a_process_that_uses_a_gpu_has_no_child(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_initialized", lambda: True)
    beside = Beside(lambda stop_requested: b"7", timeout=60)
    assert beside.is_done
    assert beside.result(never) is None
