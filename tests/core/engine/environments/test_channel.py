from __future__ import annotations

import os
import signal
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from trainctl.core.engine.environments.channel import Channel, Gate, fork

LARGE = np.arange(100_000)  # more than a pipe holds


def child(serve: Callable[[Channel], None]) -> tuple[Channel, Any]:
    """A channel to a process that does this until the channel is closed."""
    channel = Channel()

    def run() -> None:
        channel.ours.close()
        try:
            while True:
                serve(channel)
        except EOFError:
            os._exit(7)

    process = fork.Process(target=run, daemon=True)
    process.start()
    channel.theirs.close()
    return channel, process


def echo(channel: Channel) -> None:
    """Answers with the request; a step is answered like one in which no episode ended."""
    method, argument = channel.asked()
    channel.reply("done", [] if method == "take_step" else [method, argument])


def never() -> bool:
    return False


def test_requests_and_answers_follow_each_other_with_and_without_messages() -> None:
    channel, process = child(echo)
    for _ in range(3):
        channel.ask("take_step", None)
        assert channel.answer(never) == ("done", [])
        channel.ask("restore", LARGE)
        answer = channel.answer(never)
        assert answer is not None
        assert answer[1][0] == "restore"
        assert np.array_equal(answer[1][1], LARGE)
    channel.close()
    process.join(20)
    assert process.exitcode == 7  # it has noticed


def test_two_requests_may_wait_for_their_answers() -> None:
    channel, process = child(echo)
    for _ in range(3):
        for first, second in (("take_step", "experts_say"), ("experts_say", "take_step"), ("restore", "take_step")):
            channel.ask(first, None)
            channel.ask(second, None)
            for method in (first, second):
                assert channel.answer(never) == ("done", [] if method == "take_step" else [method, None])
    channel.close()
    process.join(20)


@pytest.mark.parametrize("patience", [0.0, 1e-3])
def test_a_gate_lets_pass_once_for_each_time_it_was_opened(patience: float) -> None:
    gate = Gate(patience)
    gate.open()
    gate.open()
    assert gate.wait(never)
    assert gate.wait(never)
    assert not gate.wait(lambda: True)


def test_a_gate_that_is_opened_at_the_last_moment_is_open() -> None:
    gate = Gate(0.0)

    def opened_meanwhile() -> bool:
        gate.open()
        return True

    assert gate.wait(opened_meanwhile)


def test_a_child_that_dies_instead_of_answering_is_waited_for_in_vain() -> None:
    def die(channel: Channel) -> None:
        channel.asked()
        os.kill(os.getpid(), signal.SIGKILL)

    channel, process = child(die)
    channel.ask("take_step", None)
    assert channel.answer(lambda: not process.is_alive()) is None
    assert process.exitcode == -signal.SIGKILL
