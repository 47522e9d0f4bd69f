"""Whoever is killed, the training or a child of it: the programs that environments have started end too."""

from __future__ import annotations

import ctypes
import os
import signal
import subprocess
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.toys import CountingEnv
from tests.waiting import has_ended, wait_until
from trainctl.core.engine.environments import Row
from trainctl.core.engine.environments.channel import fork
from trainctl.core.engine.environments.processes import ProcessEnvironments
from trainctl.core.engine.workers import signals


class Simulated(CountingEnv):
    """With a simulator, a process of its own, from its first episode until it is closed. Notes both in the folder."""

    def __init__(self, folder: Path, step: Callable[[], object]) -> None:
        super().__init__()
        self.folder, self.in_step, self.simulators = folder, step, list[subprocess.Popen[bytes]]()

    def reset(self, *, seed: int | None = None, options: Any = None) -> Any:
        if not self.simulators:
            self.simulators.append(subprocess.Popen(["sleep", "1000"]))
            for what, process in (("children", os.getpid()), ("simulators", self.simulators[0].pid)):
                (self.folder / what).mkdir(exist_ok=True)
                (self.folder / what / str(process)).touch()
        return super().reset(seed=seed, options=options)

    def step(self, action: Any) -> Any:
        self.in_step()
        return super().step(action)

    def close(self) -> None:
        for simulator in self.simulators:
            simulator.terminate()
            simulator.wait()


def train(folder: Path, step: Callable[[], object]) -> None:
    """Begin a step of two environments, each in a child, and wait for death."""
    environments = ProcessEnvironments(partial(Simulated, folder, step), range(2), 1, "test", 2)
    environments.reset(np.zeros((2, 1), np.float32))
    environments.begin_step(np.zeros(2, np.int64))
    (folder / "stepping").touch()
    signal.pause()


def killed_in_a_step(folder: Path, step: Callable[[], object]) -> tuple[list[int], list[int]]:
    """The children and the simulators of a process that was killed while its environments take this step."""
    parent = fork.Process(target=train, args=(folder, step))
    parent.start()
    wait_until((folder / "stepping").exists)
    parent.kill()
    parent.join()
    children, simulators = noted(folder, "children"), noted(folder, "simulators")
    assert (len(children), len(simulators)) == (2, 2)
    return children, simulators


def noted(folder: Path, what: str) -> list[int]:
    """The numbers of the "children" or of the "simulators"."""
    return [int(file.name) for file in (folder / what).iterdir()]


@pytest.mark.parametrize("seconds", [0.0, 0.5], ids=["waiting", "in a step"])
def test_children_of_a_killed_process_close_their_environments(tmp_path: Path, seconds: float) -> None:
    children, simulators = killed_in_a_step(tmp_path, partial(time.sleep, seconds))
    for process in [*children, *simulators]:
        wait_until(partial(has_ended, process))


def test_a_child_of_a_killed_process_that_hangs_is_killed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(signals, "SECONDS_AFTER_PARENT", signal.SIGHUP)  # its number is 1
    nothing_comes, _ = os.pipe()
    hang = partial(ctypes.PyDLL(None).read, nothing_comes, ctypes.create_string_buffer(1), 1)  # no Python runs then
    children, simulators = killed_in_a_step(tmp_path, hang)
    for process in children:
        wait_until(partial(has_ended, process))
    for process in simulators:  # which nobody was left to close
        os.kill(process, signal.SIGKILL)


@pytest.mark.parametrize("step", [signal.pause, partial(os._exit, 7)], ids=["hangs", "dies"])
def test_the_simulators_of_a_child_that_is_replaced_end(tmp_path: Path, step: Callable[[], object]) -> None:
    observations, ones = np.zeros((1, 1), np.float32), np.ones(1, bool)
    environments = ProcessEnvironments(partial(Simulated, tmp_path, step), range(1), 1, "test", 1, timeout=0.5)
    environments.reset(observations)
    (first,) = noted(tmp_path, "simulators")
    (end,) = environments.step(np.zeros(1, np.int64), Row(np.zeros(1, np.float32), ~ones, ~ones, ones, observations))
    assert end.failures
    wait_until(partial(has_ended, first))
    environments.close()
    for process in noted(tmp_path, "simulators"):
        wait_until(partial(has_ended, process))
