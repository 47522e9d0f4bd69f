from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator

import pytest

from trainctl.core.engine.workers.signals import SIGNALS, StopRequest, heeded_signals

# forgives nothing: a second signal ends the process at once, so this has to be another process
TWICE = """
import os, signal, sys
from trainctl.core.engine.workers.signals import StopRequest
with StopRequest().listening():
    os.kill(os.getpid(), signal.Signals[sys.argv[1]])
    try:
        os.kill(os.getpid(), signal.Signals[sys.argv[2]])
        signal.pause()
    finally:
        print("this is never reached")
"""


@pytest.fixture(autouse=True)
def terminal() -> Iterator[None]:
    """Tests do not run under nohup."""
    before = signal.signal(signal.SIGHUP, signal.SIG_DFL)
    yield
    signal.signal(signal.SIGHUP, before)


@pytest.mark.parametrize(
    ("number", "status"),
    [
        *((number, "preempted") for number in (signal.SIGTERM, signal.SIGUSR1, signal.SIGHUP)),
        (signal.SIGINT, "interrupted"),
    ],
)
def test_a_signal_raises_a_flag_and_nothing_else(number: signal.Signals, status: str) -> None:
    request = StopRequest()
    with request.listening():
        assert not request.requested
        os.kill(os.getpid(), number)
        assert request.requested
        assert (request.signal, request.status) == (number, status)


def test_afterwards_the_handlers_are_those_of_before() -> None:
    before = [signal.getsignal(number) for number in SIGNALS]
    with StopRequest().listening():
        assert all(signal.getsignal(number) not in before for number in SIGNALS)
    assert [signal.getsignal(number) for number in SIGNALS] == before


@pytest.mark.parametrize("second", ["SIGTERM", "SIGINT"])
def test_a_second_signal_ends_the_process_at_once(second: str) -> None:
    found = subprocess.run([sys.executable, "-c", TWICE, "SIGUSR1", second], capture_output=True, text=True)
    assert found.returncode == 128 + signal.Signals[second]
    assert found.stdout == ""


def test_a_terminal_that_goes_is_said_twice_and_meant_once() -> None:
    request = StopRequest()
    with request.listening():
        os.kill(os.getpid(), signal.SIGHUP)
        os.kill(os.getpid(), signal.SIGHUP)
        assert request.signal == signal.SIGHUP


def test_under_nohup_a_terminal_may_go() -> None:
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    assert heeded_signals() == [number for number in SIGNALS if number != signal.SIGHUP]
    request = StopRequest()
    with request.listening():
        os.kill(os.getpid(), signal.SIGHUP)
        assert not request.requested
