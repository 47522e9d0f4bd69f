"""Two "machines" on one: network namespaces joined by a veth pair, one launcher in each, a run directory they share."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.end_to_end.runs import EXPERIMENT

NAMESPACES, ADDRESSES = ("trainctl-a", "trainctl-b"), ("10.77.0.1", "10.77.0.2")


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
        yield NAMESPACES


def launcher(folder: Path, machine: int, name: str) -> subprocess.Popen[str]:
    """`trainctl run` on one of the two machines."""
    command = ["ip", "netns", "exec", NAMESPACES[machine], sys.executable, "-m", "trainctl", "run"]
    command += [str(folder / "small.py"), "--runs-dir", str(folder / "runs"), "--name", name, "--seed", "1", "--plain"]
    command += ["--nnodes", "2", "--node-rank", str(machine), "--rdzv-endpoint", f"{ADDRESSES[0]}:29431", "--json"]
    command += ["--set", "save=200", "--set", "steps=3000"]
    log = (folder / f"{name}-{machine}.log").open("w")
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=log, text=True, start_new_session=True)


def last_steps(folder: Path, name: str) -> int:
    """Total steps of the last checkpoint; it holds a part of each worker."""
    last = max((folder / "runs" / name / "checkpoints").glob("step-*"))
    assert sorted(part.name for part in last.glob("worker-*.pt")) == ["worker-0.pt", "worker-1.pt"]
    return int(last.name.removeprefix("step-"))


@pytest.mark.soak
def test_two_machines_train_together(machines: tuple[str, str], tmp_path: Path) -> None:
    (tmp_path / "small.py").write_text(EXPERIMENT)
    both = [launcher(tmp_path, machine, "whole") for machine in (0, 1)]
    outputs = [process.communicate(timeout=200)[0] for process in both]
    assert [process.returncode for process in both] == [0, 0], (tmp_path / "whole-0.log").read_text()
    assert json.loads(outputs[0])["status"] == "complete"
    assert last_steps(tmp_path, "whole") == 6000
