"""SIGTERM, SIGUSR1, SIGHUP, Ctrl-C, to the process or to its whole group: saved, the right code, and the same end."""

from __future__ import annotations

import contextlib
import itertools
import os
import random
import signal
import time
from pathlib import Path

import pytest

from tests.kill.processes import EXPERIMENTS, Command, checkpoints, damaged, lines, record, run_of, settings, trainctl
from trainctl.core.engine.commands.run_comparison import compare
from trainctl.core.engine.saving.run_directory import RunDirectory

CARTPOLE = EXPERIMENTS / "cartpole.py"
CODES = {signal.SIGTERM: 75, signal.SIGUSR1: 75, signal.SIGHUP: 75, signal.SIGINT: 130}
STATUS = {75: "preempted", 130: "interrupted"}
WORDS = ["run", CARTPOLE, "--quiet", *settings(steps=32_768, processes=2, save_interval=100_000)]


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory) -> RunDirectory:
    """The run that nobody has disturbed."""
    folder = tmp_path_factory.mktemp("alone")
    assert trainctl(folder, *WORDS, "--name", "alone") == 0
    return run_of(folder, "alone")


@pytest.mark.parametrize("to_group", [False, True], ids=["process", "group"])
@pytest.mark.parametrize(
    ("number", "times"),
    [
        *[(number, 2) for number in CODES],
        *[pytest.param(number, 20, marks=[pytest.mark.soak, pytest.mark.timeout(1800)]) for number in CODES],
    ],
)
def test_a_signal_saves_and_the_end_is_the_same(
    number: signal.Signals, times: int, to_group: bool, alone: RunDirectory, tmp_path: Path
) -> None:
    moments, count, longest = random.Random(f"{number} {to_group}"), 0, 0.0
    for name in (f"stopped-{index}" for index in itertools.count()):
        code, steps = -1, 0
        while code != 0:
            command = Command(tmp_path, *WORDS, "--name", name)
            command.wait_until_it_listens()
            time.sleep(moments.uniform(0, 1.5))
            began = time.monotonic()
            if count < times:
                with contextlib.suppress(ProcessLookupError):  # it has just come to its end
                    (os.killpg if to_group else os.kill)(command.pid, number)
            code = command.wait()
            count += code != 0
            longest = max(longest, time.monotonic() - began) if code else longest
            assert code in (0, CODES[number]), command.said()
            if code:
                found = record(tmp_path, name)
                assert found["attempts"][-1]["status"] == STATUS[code]
                assert found["total_steps"] > steps
                steps = found["total_steps"]
                assert checkpoints(tmp_path, name)[-1] == f"step-{steps:012d}"
                assert damaged(tmp_path, name) == []
        assert compare(alone, run_of(tmp_path, name)).difference is None
        if count == times:
            break
    assert count == times
    print(f"{count} times {number.name}; from the signal to the exit at most {longest:.1f} s")


def test_a_second_signal_leaves_at_once(tmp_path: Path) -> None:
    words = ["run", EXPERIMENTS / "failing.py", "--name", "hangs", "--quiet"]
    command = Command(tmp_path, *words, *settings(how="hang", at=50, timeout=1000, processes=1))
    command.wait_until((tmp_path / "hanging").exists)
    os.kill(command.pid, signal.SIGTERM)
    time.sleep(0.3)
    assert command.process.is_alive()
    os.kill(command.pid, signal.SIGTERM)
    assert command.wait() == 128 + signal.SIGTERM


def test_a_signal_while_everything_is_still_being_built_is_kept(tmp_path: Path) -> None:
    """A signal that comes before anything is trained is kept: one rollout, and it is saved."""
    command = Command(tmp_path, "run", CARTPOLE, "--name", "early", "--quiet")
    command.wait_until_it_listens()
    os.kill(command.pid, signal.SIGTERM)
    assert command.wait() == 75, command.said()
    assert checkpoints(tmp_path, "early") == ["step-000000000256"]


@pytest.mark.parametrize("episode", [0, 1, 3], ids=["within a stage", "at a stage's end", "at the end"])
def test_a_validation_keeps_nobody_waiting_and_is_made_up_for(episode: int, tmp_path: Path) -> None:
    words = ["run", CARTPOLE, "--quiet", *settings(steps=2048, validate=True)]
    command = Command(tmp_path, *words, "--name", "stopped")
    # an episode is begun once more when it is over
    command.wait_until((tmp_path / f"episode-{2 * episode}").exists)
    os.kill(command.pid, signal.SIGTERM)
    assert command.wait() == 75, command.said()
    began = 512 * (episode + 1)
    # within a stage the training goes on while the episode is played, until the interval after that is over
    may_be = [512, 768, 1024] if episode == 0 else [began]
    assert checkpoints(tmp_path, "stopped")[-1] in [f"step-{steps:012d}" for steps in may_be]
    assert [line["total_steps"] for line in lines(tmp_path, "stopped") if line["kind"] == "valid"] == [
        512 * (number + 1) for number in range(episode)
    ]
    assert trainctl(tmp_path, *words, "--name", "stopped") == 0
    assert trainctl(tmp_path, *words, "--name", "alone") == 0
    assert compare(run_of(tmp_path, "alone"), run_of(tmp_path, "stopped")).difference is None
    assert trainctl(tmp_path, "evaluate", "--checkpoint", "runs/stopped@best", "--episodes", 1) == 0
