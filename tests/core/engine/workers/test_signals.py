from __future__ import annotations

import os
import signal
import subprocess
import sys

import pytest

from trainctl.core.engine.workers.signals import SIGNALS, StopRequest

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


@pytest.mark.parametrize(
    ("number", "status"),
    [(signal.SIGTERM, "preempted"), (signal.SIGUSR1, "preempted"), (signal.SIGINT, "interrupted")],
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
