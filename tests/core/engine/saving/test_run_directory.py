"""A run directory is made once, used by one process at a time, and remembers every attempt."""

from __future__ import annotations

import json
import os
import random
import signal
import socket
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from tests.core.engine.saving.checkpoints import save
from trainctl.core.engine.saving import durable
from trainctl.core.engine.saving.run_directory import RunDirectory, default_name
from trainctl.core.errors import CheckpointError, RunInUseError, UsageError


@pytest.fixture
def run(tmp_path: Path) -> RunDirectory:
    """A run that was begun."""
    directory = RunDirectory.create(tmp_path / "runs", "first")
    directory.record_run(command=["trainctl", "run", "exp.py"], experiment="exp.py", seed=3)
    return directory


def test_the_files_of_a_run_have_the_names_users_know(run: RunDirectory) -> None:
    names = ["run", "experiment", "pipeline", "checkpoints", "tensorboard", "metrics", "logs", "videos"]
    found = [getattr(run, name).name for name in names]
    assert found[:4] == ["run.json", "experiment", "pipeline.json", "checkpoints"]
    assert found[4:] == ["tensorboard", "metrics.jsonl", "logs", "videos"]
    with run.lock():
        assert (run.path / "LOCK").is_file()


def test_a_default_name_says_what_it_is_and_is_never_the_same() -> None:
    random.seed(0)
    before = random.getstate()
    names = {default_name("cartpole", 3) for _ in range(100)}
    assert len(names) == 100
    assert all(name.startswith("cartpole-s3-") and len(name) == len("cartpole-s3-") + 6 for name in names)
    assert random.getstate() == before


# Making


def test_a_run_that_is_there_is_not_overwritten(run: RunDirectory) -> None:
    before = run.run.read_bytes()
    with pytest.raises(UsageError, match=r"there is a run .*first already") as refusal:
        RunDirectory.create(run.path.parent, "first")
    assert f"trainctl resume --checkpoint {run.path}" in refusal.value.hint
    assert "--name" in refusal.value.hint
    assert run.run.read_bytes() == before


def test_a_directory_that_is_no_run_is_not_taken_either(tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    with pytest.raises(UsageError, match=r"there is a directory .*mine already, and it is no run"):
        RunDirectory.create(tmp_path, "mine")


def test_of_twenty_starts_of_one_name_one_succeeds(tmp_path: Path) -> None:
    def create(_: int) -> RunDirectory | UsageError:
        try:
            return RunDirectory.create(tmp_path / "new" / "runs", "same")
        except UsageError as error:
            return error

    with ThreadPoolExecutor(20) as pool:
        results = list(pool.map(create, range(20)))
    assert sum(isinstance(result, RunDirectory) for result in results) == 1
    assert {getattr(result, "exit_code", 0) for result in results} == {0, 2}


@pytest.mark.parametrize("name", ["", ".", "..", "a/b", "../x", "/tmp/x", "x/"])
def test_a_name_is_one_directory(name: str, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="a run cannot be called"):
        RunDirectory.create(tmp_path / "runs", name)
    assert list(tmp_path.iterdir()) == []


def test_a_file_in_the_way_is_named(tmp_path: Path) -> None:
    (tmp_path / "runs").write_text("", "utf-8")
    with pytest.raises(UsageError, match=r"cannot be made: .*runs is a file") as refusal:
        RunDirectory.create(tmp_path / "runs", "first")
    assert "--runs-dir" in refusal.value.hint
    with pytest.raises(UsageError, match="cannot be made: Not a directory"):
        RunDirectory.create(tmp_path / "runs" / "deeper", "first")
    (tmp_path / "first").write_text("", "utf-8")
    with pytest.raises(UsageError, match=r"cannot be made: .*first is a file"):
        RunDirectory.create(tmp_path, "first")


@pytest.mark.parametrize("reason", ["Permission denied", "Read-only file system", "No space left on device"])
def test_a_place_that_cannot_be_written_is_named(reason: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(*args: Any, **kwargs: Any) -> None:
        raise OSError(1, reason)

    monkeypatch.setattr(os, "mkdir", refused)
    with pytest.raises(UsageError, match=f"{tmp_path / 'first'} cannot be made: {reason}"):
        RunDirectory.create(tmp_path, "first")


# Finding


def test_a_run_is_found_from_itself_and_from_all_that_lies_in_it(run: RunDirectory) -> None:
    checkpoint = save(run.checkpoints, 100)
    for path in (run.path, run.checkpoints, checkpoint, checkpoint / "manifest.json", run.run):
        assert RunDirectory.of_checkpoint(path).path == run.path


def test_a_run_is_found_from_within_it(run: RunDirectory, monkeypatch: pytest.MonkeyPatch) -> None:
    save(run.checkpoints, 100)
    monkeypatch.chdir(run.checkpoints)
    assert RunDirectory.of_checkpoint(Path("step-000000000100")).path == run.path
    monkeypatch.chdir(run.path.parent.parent)
    assert RunDirectory.of_checkpoint(Path("runs/first/checkpoints/step-000000000100")).path == Path("runs/first")


def test_what_is_no_run_is_refused_with_the_runs_that_are_there(
    run: RunDirectory, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(run.path.parent.parent)
    with pytest.raises(CheckpointError, match=r"runs/frist does not exist") as refusal:
        RunDirectory.of_checkpoint(Path("runs/frist"))
    assert refusal.value.hint == "known: 'runs/first' (did you mean 'runs/first'?)"
    with pytest.raises(CheckpointError, match="first does not exist") as refusal:
        RunDirectory.of_checkpoint(Path("first"))
    assert "runs/first" in refusal.value.hint
    with pytest.raises(CheckpointError, match="is in no run directory"):
        RunDirectory.of_checkpoint(run.path.parent)


# One process at a time

HOLD = """
import sys, time, os
from pathlib import Path
from trainctl.core.engine.saving.run_directory import RunDirectory
with RunDirectory(Path(sys.argv[1])).lock():
    if sys.argv[2:] and os.fork() == 0:
        os.write(1, b"%d\\n" % os.getpid())  # whole lines: print() may write the end of a line by itself
        time.sleep(600)
    os.write(1, b"locked\\n")
    time.sleep(600)
"""


def holder(run: RunDirectory, *arguments: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", HOLD, str(run.path), *arguments]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    return process


def test_a_run_in_use_is_refused_and_says_by_whom(run: RunDirectory) -> None:
    with holder(run) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "locked\n"
        who = f"is in use by pid {process.pid} on {socket.gethostname()} since 20"
        for attempt in (lambda: run.lock().__enter__(), lambda: RunDirectory.create(run.path.parent, "first")):
            with pytest.raises(RunInUseError, match=who) as refusal:
                attempt()
            assert refusal.value.exit_code == 5
            assert "--name" in refusal.value.hint
        assert run.is_in_use()
        process.kill()
        process.wait()
        with run.lock():  # the kernel has let go of it
            assert json.loads((run.path / "LOCK.json").read_text("utf-8"))["pid"] == os.getpid()
    assert not run.is_in_use()


def test_a_process_that_a_killed_training_left_behind_does_not_hold_the_run(run: RunDirectory) -> None:
    with holder(run, "fork") as process:
        assert process.stdout is not None
        lines = {process.stdout.readline().strip() for _ in range(2)}
        child = int((lines - {"locked"}).pop())
        process.kill()
        process.wait()
        try:
            with run.lock():
                os.kill(child, 0)  # it lives on
        finally:
            os.kill(child, signal.SIGKILL)


def test_a_lock_whose_holder_cannot_be_read_is_respected(run: RunDirectory) -> None:
    with run.lock():
        (run.path / "LOCK.json").write_text("half a l", "utf-8")
        with pytest.raises(RunInUseError, match="is in use by another process"), RunDirectory(run.path).lock():
            pass


def test_asking_whether_a_run_is_in_use_refuses_nobody(run: RunDirectory) -> None:
    def ask(_: int) -> None:
        RunDirectory(run.path).is_in_use()

    with ThreadPoolExecutor(4) as pool:
        asking = pool.map(ask, range(400))
        for _ in range(20):
            with run.lock():
                pass
        list(asking)


def test_the_lock_is_free_after_an_error(run: RunDirectory) -> None:
    with pytest.raises(ZeroDivisionError), run.lock():
        raise ZeroDivisionError
    assert not run.is_in_use()
    assert not (run.path / "LOCK.json").exists()


# What it remembers


def test_the_record_holds_what_was_asked_and_what_was_there(run: RunDirectory) -> None:
    record = run.read_run()
    assert (record["command"], record["seed"], record["attempts"]) == (["trainctl", "run", "exp.py"], 3, [])
    assert set(record["versions"]) == {"trainctl", "torch", "numpy", "numba", "gymnasium", "python"}


def test_every_attempt_is_recorded_and_one_that_did_not_end_was_killed(run: RunDirectory) -> None:
    run.begin_attempt(None, "bit-exact")
    assert run.read_run()["attempts"][0]["status"] == "running"
    run.begin_attempt("step-000000000100", "exact-state")
    run.end_attempt("complete", total_steps=500)
    record = run.read_run()
    first, second = record["attempts"]
    assert (first["status"], first["ended"], first["from_checkpoint"]) == ("killed", None, None)
    assert (second["status"], second["guarantee"]) == ("complete", "exact-state")
    assert (second["host"], second["pid"]) == (socket.gethostname(), os.getpid())
    assert first["started"] <= second["started"] <= second["ended"]
    assert (record["total_steps"], record["seed"]) == (500, 3)


def test_a_file_that_is_written_is_the_old_one_or_the_new_one(
    run: RunDirectory, monkeypatch: pytest.MonkeyPatch
) -> None:
    run.update(note="old")

    def refused(*args: Any) -> None:
        raise OSError(28, "No space left on device")

    for name in ("fsync", "replace"):
        with monkeypatch.context() as patch:
            patch.setattr(durable.os, name, refused)
            with pytest.raises(UsageError, match=r"run\.json cannot be written: No space left on device"):
                run.update(note="new")
        assert run.read_run()["note"] == "old"
        assert sorted(path.name for path in run.path.iterdir()) == ["LOCK", "run.json"]


def test_a_full_disk_makes_no_failure_of_a_training_that_ended(
    run: RunDirectory, monkeypatch: pytest.MonkeyPatch
) -> None:
    run.begin_attempt(None, "bit-exact")

    def refused(*args: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(durable.os, "fsync", refused)
    run.end_attempt("complete")
    assert run.read_run()["attempts"][0]["status"] == "running"


def test_a_damaged_record_is_refused_in_words(run: RunDirectory) -> None:
    run.run.write_text("{", "utf-8")
    with pytest.raises(CheckpointError, match=r"run\.json is damaged: it is no JSON"):
        run.read_run()
    run.run.write_text("[]", "utf-8")
    with pytest.raises(CheckpointError, match=r"run\.json is damaged: it holds no JSON object"):
        run.read_run()
    with pytest.raises(CheckpointError, match=r"pipeline\.json cannot be read: No such file"):
        run.read_json(run.pipeline)
