"""Full and read-only disks, and many who want the same directory."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.kill.processes import EXPERIMENTS, Command, checkpoints, damaged, difference, lines, record, run_of, settings

CARTPOLE = EXPERIMENTS / "cartpole.py"


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 5 MB."""
    folder = tmp_path / "small"
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=5m", "none", str(folder)]
    if os.geteuid() != 0 or not shutil.which("mount") or subprocess.run(command, capture_output=True).returncode:
        pytest.skip("needs the right to mount a file system")
    yield folder
    subprocess.run(["umount", "-l", str(folder)], check=True)


def test_on_a_full_disk_the_training_goes_on_and_says_at_the_end_what_was_not_saved(
    small_disk: Path, tmp_path: Path
) -> None:
    """Checkpoints of 0.4 MB: some fit beside what lies there already; then none does."""
    options = settings(steps=4_096, width=4096)
    assert Command(tmp_path, "run", CARTPOLE, "--name", "roomy", "--quiet", *options).wait() == 0
    (small_disk / "filler").write_bytes(bytes(3_300_000))
    command = Command(tmp_path, "run", CARTPOLE, "--runs-dir", small_disk, "--name", "tight", "--quiet", *options)
    assert command.wait() == 1, command.said()
    assert "cannot be written: No space left on device" in command.said()
    assert " are free)" in command.said()
    assert " of 4,096 steps are in no checkpoint" in " ".join(command.said().split())
    link(tmp_path, small_disk)
    early = checkpoints(tmp_path, "tight")
    assert early
    assert damaged(tmp_path, "tight") == []
    assert early[-1] != checkpoints(tmp_path, "roomy")[-1]

    (small_disk / "filler").unlink()
    for path in [run_of(tmp_path, "tight").checkpoints / name for name in early[:-1]]:
        shutil.rmtree(path)
    resume = ["resume", "--checkpoint", small_disk / "tight", "--quiet"]
    command = Command(tmp_path, *resume, *settings(save_interval=100_000))  # a change that does no harm
    assert command.wait() == 0, command.said()
    assert checkpoints(tmp_path, "tight")[-1] == checkpoints(tmp_path, "roomy")[-1]
    assert [line["total_steps"] for line in lines(tmp_path, "tight")] == [
        line["total_steps"] for line in lines(tmp_path, "roomy")
    ]


def link(folder: Path, disk: Path) -> None:
    """The run of the small disk among the others."""
    (folder / "runs" / "tight").symlink_to(disk / "tight")


def test_a_read_only_directory_is_named_before_anything_is_trained(small_disk: Path, tmp_path: Path) -> None:
    subprocess.run(["mount", "-o", "remount,ro", str(small_disk)], check=True)
    command = Command(tmp_path, "run", CARTPOLE, "--runs-dir", small_disk / "runs", "--name", "first")
    assert command.wait() == 2
    assert "first cannot be made: Read-only file system" in command.said()
    assert "--runs-dir" in command.said()


@pytest.mark.parametrize("starts", [6, pytest.param(20, marks=pytest.mark.soak)])
def test_of_many_starts_of_one_name_one_trains_and_the_others_say_who(starts: int, tmp_path: Path) -> None:
    words = ["run", CARTPOLE, "--name", "same", "--quiet", *settings(steps=10_000_000)]
    commands = [Command(tmp_path, *words) for _ in range(starts)]
    for command in commands:
        command.wait_until(lambda: sum(one.process.is_alive() for one in commands) == 1)
    (winner,) = [command for command in commands if command.process.is_alive()]
    assert {command.wait() for command in commands if command is not winner} == {5}
    others = [command.said() for command in commands if command is not winner]
    assert all("is in use by pid" in said or "begun by another process" in said for said in others)
    winner.wait_until(lambda: len(checkpoints(tmp_path, "same")) > 0)
    os.kill(winner.pid, signal.SIGTERM)
    assert winner.wait() == 75
    assert len(record(tmp_path, "same")["attempts"]) == 1
    assert [path.name for path in (tmp_path / "runs").iterdir()] == ["same"]


def test_the_lock_of_a_killed_run_is_free(tmp_path: Path) -> None:
    words = ["run", CARTPOLE, "--name", "first", "--quiet", *settings(steps=4096)]
    command = Command(tmp_path, *words)
    command.wait_until(lambda: len(checkpoints(tmp_path, "first")) > 0)
    command.process.kill()
    command.wait()
    assert Command(tmp_path, *words).wait() == 0
    assert Command(tmp_path, *words[:2], "--name", "alone", *words[4:]).wait() == 0
    assert difference(tmp_path, "alone", "first") is None
