"""Two "machines" on one: network namespaces joined by a veth pair, one launcher in each, a run directory they share."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.end_to_end.runs import EXPERIMENT

NAMESPACES, ADDRESSES = ("trainctl-a", "trainctl-b"), ("10.77.0.1", "10.77.0.2")
LAUNCHERS: list[subprocess.Popen[str]] = []
LAUNCHER_DIES = """
import os
from pathlib import Path
import gymnasium


class DiesOnce(gymnasium.Wrapper):
    steps = 0

    def step(self, action):
        self.steps += 1
        marker = Path(__file__).parent / "has-died"
        if os.environ.get("MACHINE") == "{machine}" and self.steps == 75 and not marker.exists():
            marker.touch()
            os.kill(os.getppid(), 9)
        return super().step(action)


def dies_once():
    return DiesOnce(gymnasium.make("CartPole-v1"))
"""


def ip(*words: str) -> None:
    subprocess.run(["ip", *words], check=True, capture_output=True)


@pytest.fixture
def machines() -> Iterator[tuple[str, str]]:
    """Two namespaces that reach each other and nothing else."""
    if os.geteuid() != 0 or shutil.which("ip") is None:
        pytest.skip("network namespaces need root and iproute2")
    with contextlib.ExitStack() as undo:
        for namespace in NAMESPACES:
            try:
                ip("netns", "add", namespace)
            except subprocess.CalledProcessError as error:
                pytest.skip(f"no network namespace can be made here: {error.stderr.decode().strip()}")
            undo.callback(ip, "netns", "del", namespace)
        ip("link", "add", "va", "netns", NAMESPACES[0], "type", "veth", "peer", "name", "vb", "netns", NAMESPACES[1])
        for namespace, device, address in zip(NAMESPACES, ("va", "vb"), ADDRESSES, strict=True):
            ip("-n", namespace, "addr", "add", f"{address}/24", "dev", device)
            ip("-n", namespace, "link", "set", device, "up")
            ip("-n", namespace, "link", "set", "lo", "up")
        undo.callback(end_launchers)
        yield NAMESPACES


def end_launchers() -> None:
    """None is left when a test has failed."""
    while LAUNCHERS:
        with LAUNCHERS.pop() as process:
            process.kill()


def launcher(folder: Path, machine: int, name: str, nnodes: str = "2") -> subprocess.Popen[str]:
    """`trainctl run` on one of the two machines."""
    command = ["ip", "netns", "exec", NAMESPACES[machine], sys.executable, "-m", "trainctl", "run"]
    command += [str(folder / "small.py"), "--runs-dir", str(folder / "runs"), "--name", name, "--seed", "1", "--plain"]
    command += ["--nnodes", nnodes, "--node-rank", str(machine), "--rdzv-endpoint", f"{ADDRESSES[0]}:29431", "--json"]
    command += ["--set", "save=200", "--set", "steps=3000"]
    with (folder / f"{name}-{machine}.log").open("a") as log:
        environment = {**os.environ, "MACHINE": str(machine)}
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=log, text=True, env=environment)
    LAUNCHERS.append(process)
    return process


def finish(folder: Path, name: str, launchers: list[subprocess.Popen[str]]) -> str:
    """Wait for all; the SHA-256 of the model they leave."""
    outputs = [process.communicate(timeout=280)[0] for process in launchers]
    said = "".join((folder / f"{name}-{machine}.log").read_text() for machine in (0, 1))
    assert all(process.returncode == 0 for process in launchers), said
    assert all(json.loads(output)["status"] == "complete" for output in outputs)
    last = max((folder / "runs" / name / "checkpoints").glob("step-*"))
    assert last.name == "step-000000006000"
    parts = sorted(part.name for part in last.glob("worker-*.pt"))
    assert parts == [f"worker-{rank}.pt" for rank in range(len(launchers))]
    return hashlib.sha256((last / "model.safetensors").read_bytes()).hexdigest()


def undisturbed(folder: Path) -> str:
    (folder / "small.py").write_text(EXPERIMENT)
    return finish(folder, "whole", [launcher(folder, machine, "whole") for machine in (0, 1)])


def launcher_that_dies(folder: Path, machine: int, nnodes: str = "2") -> list[subprocess.Popen[str]]:
    """Both; the launcher of this machine is killed in its second rollout."""
    dies = LAUNCHER_DIES.format(machine=machine)
    (folder / "small.py").write_text(dies + EXPERIMENT.replace('"CartPole-v1",', "dies_once, environment_processes=0,"))
    both = [launcher(folder, machine, "killed", nnodes) for machine in (0, 1)]
    assert both[machine].wait(timeout=120) == -signal.SIGKILL
    return both


@pytest.mark.soak
def test_a_machine_whose_launcher_was_killed_joins_again(machines: tuple[str, str], tmp_path: Path) -> None:
    whole = undisturbed(tmp_path)
    first, _ = launcher_that_dies(tmp_path, machine=1)
    assert finish(tmp_path, "killed", [first, launcher(tmp_path, 1, "killed")]) == whole


@pytest.mark.soak
def test_without_the_machine_where_all_meet_the_others_end_and_both_go_on(
    machines: tuple[str, str], tmp_path: Path
) -> None:
    whole = undisturbed(tmp_path)
    _, other = launcher_that_dies(tmp_path, machine=0)
    assert other.wait(timeout=200) == 1
    assert "the machine where all meet" in (tmp_path / "killed-1.log").read_text()
    assert finish(tmp_path, "killed", [launcher(tmp_path, machine, "killed") for machine in (0, 1)]) == whole


@pytest.mark.soak
def test_as_many_machines_as_there_are_go_on_without_the_one_that_is_gone(
    machines: tuple[str, str], tmp_path: Path
) -> None:
    first, _ = launcher_that_dies(tmp_path, machine=1, nnodes="1:2")
    finish(tmp_path, "killed", [first])
    attempts = json.loads((tmp_path / "runs" / "killed" / "run.json").read_text())["attempts"]
    assert attempts[0]["guarantee"] == "bit-exact"
    assert attempts[-1]["guarantee"] == "continued"
