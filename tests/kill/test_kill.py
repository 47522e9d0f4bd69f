"""kill -9 at any moment: no checkpoint is damaged, none that was there is lost, and the end has the same bits."""

from __future__ import annotations

import random
import time
from functools import partial
from pathlib import Path

import pytest

from tests.kill.processes import (
    EXPERIMENTS,
    Command,
    checkpoints,
    damaged,
    difference,
    record,
    run_of,
    settings,
    trainctl,
)
from trainctl.core.engine.saving.run_directory import RunDirectory

CARTPOLE = EXPERIMENTS / "cartpole.py"


@pytest.mark.parametrize("kills", [20, pytest.param(200, marks=[pytest.mark.soak, pytest.mark.timeout(3600)])])
def test_a_run_that_is_killed_again_and_again_ends_with_the_same_bits(kills: int, tmp_path: Path) -> None:
    moments = random.Random(kills)
    words = ["run", CARTPOLE, "--quiet", *settings(steps=40_000)]
    assert trainctl(tmp_path, *words, "--name", "alone") == 0
    done, resumed = 0, 0
    for number in range(kills):
        name = f"killed-{number}"
        done = killed_until_it_ends([*words, "--name", name], tmp_path, name, moments, done, kills)
        assert difference(tmp_path, "alone", name) is None
        resumed += sum(attempt["from_checkpoint"] is not None for attempt in record(tmp_path, name)["attempts"])
        if done == kills:
            break
    assert done == kills
    assert resumed > 0


def killed_until_it_ends(
    words: list[object], folder: Path, name: str, moments: random.Random, done: int, kills: int
) -> int:
    """Type the same command again and again; it is killed until there have been enough kills. Gives their number."""
    announced: list[str] = []
    while True:
        command = Command(folder, *words)
        if done < kills:
            if done % 2:  # every other kill leaves something to resume, however slow the machine is
                command.wait_until(lambda: bool(checkpoints(folder, name)))
            time.sleep(moments.uniform(0.0, 1.5))
            command.process.kill()
            done += 1
        code = command.wait()
        assert code in (0, -9), command.said()
        if run_of(folder, name).is_run():
            assert damaged(folder, name) == []
            present = checkpoints(folder, name)
            assert set(announced) <= set(present)
            announced = present
        if code == 0 or (run_of(folder, name).is_run() and run_of(folder, name).is_finished()):
            return done  # the last kill may come after the run's end and before the process's


def test_a_kill_while_the_run_directory_is_made_leaves_nothing_under_its_name(tmp_path: Path) -> None:
    words = ["run", CARTPOLE, "--quiet", *settings(steps=1024), "--name"]
    whole = []
    for number in range(8):
        name = f"killed-{number}"
        command = Command(tmp_path, *words, name)
        command.wait_until(partial(is_being_made, tmp_path, name))
        time.sleep(0.004 * number)  # to make it takes some 0.03 seconds
        command.process.kill()
        assert command.wait() in (0, -9), command.said()
        if run_of(tmp_path, name).is_run():
            whole.append(run_of(tmp_path, name).path)
        else:
            assert not run_of(tmp_path, name).path.exists()
    assert [directory.path for directory in RunDirectory.all_in(tmp_path / "runs")] == whole
    for number in range(8):
        name = f"killed-{number}"
        is_complete = run_of(tmp_path, name).is_run() and run_of(tmp_path, name).is_finished()
        assert trainctl(tmp_path, *words, name) == (2 if is_complete else 0)
        assert record(tmp_path, name)["attempts"][-1]["status"] == "complete"


def is_being_made(folder: Path, name: str) -> bool:
    """Whether a run is there under the hidden name that it has until it is whole."""
    return bool(list(folder.glob(f"runs/.{name}.new-*")))
