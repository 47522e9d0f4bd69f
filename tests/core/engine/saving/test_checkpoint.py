"""Checkpoints are whole or absent, also where a save is killed or the disk is full; the last good one never goes."""

from __future__ import annotations

import contextlib
import errno
import itertools
import json
import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.core.engine.saving.checkpoints import names, on_workers, save, snapshot
from trainctl.core.engine.saving.checkpoint import (
    FORMAT_VERSION,
    GUARANTEES,
    Checkpoint,
    checkpoint_name,
    list_checkpoints,
    newest_valid,
    prune,
    remove_leftovers,
    save_checkpoint,
    verify,
)
from trainctl.core.engine.workers.workers import SingleWorker
from trainctl.core.errors import CheckpointError


def test_what_is_saved_comes_back(tmp_path: Path) -> None:
    path = save(tmp_path / "checkpoints", 1200, weight=2.5)
    assert path == tmp_path / "checkpoints" / "step-000000001200"
    assert sorted(snapshot(path)) == ["manifest.json", "model.safetensors", "training.pt", "worker-0.pt"]
    found = Checkpoint.open(path)
    assert (found.step, found.about, found.is_healthy) == (1200, {"stage": "ppo", "healthy": True}, True)
    assert torch.equal(found.model()["weight"], torch.full((4,), 2.5))
    assert found.model()["count"] == 7
    assert found.shared() == {"progress": {"total_steps": 1200}}
    assert torch.equal(found.own(0)["random"]["state"], torch.arange(3))


def test_the_manifest_says_what_wrote_it(tmp_path: Path) -> None:
    manifest = json.loads((save(tmp_path, 1) / "manifest.json").read_text("utf-8"))
    assert (manifest["format_version"], manifest["step"], manifest["workers"]) == (FORMAT_VERSION, 1, 1)
    assert manifest["versions"]["torch"] == torch.__version__
    assert set(manifest["versions"]) == {"trainctl", "torch", "numpy", "numba", "gymnasium", "python"}
    assert manifest["files"]["training.pt"]["size"] == (tmp_path / checkpoint_name(1) / "training.pt").stat().st_size


def test_the_guarantees_are_listed_best_first() -> None:
    assert GUARANTEES == ("bit-exact", "exact-state", "continued", "weights-only")


def test_several_workers_write_one_checkpoint_together(tmp_path: Path) -> None:
    paths = on_workers(3, lambda workers: save(tmp_path, 50, own={"rank": {"is": workers.rank}}, workers=workers))
    assert paths == [tmp_path / checkpoint_name(50)] * 3
    found = Checkpoint.open(paths[0])
    assert [found.own(rank)["rank"]["is"] for rank in range(3)] == [0, 1, 2]
    with pytest.raises(CheckpointError, match="the parts of 3 workers, but none of the worker 3"):
        found.own(3)


def test_a_part_that_cannot_be_saved_on_one_worker_is_an_error_on_all(tmp_path: Path) -> None:
    def with_an_array_on_the_last(workers: Any) -> Path:
        return save(tmp_path, 1, own={"part": {"x": np.zeros(2) if workers.rank == 1 else 0}}, workers=workers)

    for error in on_workers(2, with_an_array_on_the_last):
        assert isinstance(error, CheckpointError)
        assert "part.x is a numpy.ndarray" in str(error)
    assert snapshot(tmp_path) == {}


@pytest.mark.parametrize("about", [{"path": Path("x")}, {"values": {1, 2}}])
def test_about_must_be_what_json_can_hold(about: dict[str, Any], tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="`about` of a checkpoint must be what JSON can hold"):
        save(tmp_path, 1, about=about)
    assert list(tmp_path.iterdir()) == []


def test_a_checkpoint_that_is_there_already_is_left_as_it_is(tmp_path: Path) -> None:
    before = snapshot(save(tmp_path, 5, about={"attempt": 1}))
    assert snapshot(save(tmp_path, 5, about={"attempt": 2})) == before
    assert len(list(tmp_path.iterdir())) == 1


def test_a_damaged_one_of_the_same_name_is_moved_aside(tmp_path: Path) -> None:
    (save(tmp_path, 5) / "training.pt").write_bytes(b"damaged")
    assert verify(save(tmp_path, 5)) is None
    kept, moved = sorted(tmp_path.iterdir())
    assert kept.name == checkpoint_name(5)
    assert moved.name.startswith("step-000000000005.damaged-")
    assert (moved / "training.pt").read_bytes() == b"damaged"
    assert list_checkpoints(tmp_path) == [kept]


def test_one_of_another_branch_is_moved_aside(tmp_path: Path) -> None:
    save(tmp_path, 5, weight=1.0)
    assert torch.equal(Checkpoint.open(save(tmp_path, 5, weight=2.0)).model()["weight"], torch.full((4,), 2.0))
    moved = max(tmp_path.iterdir())
    assert moved.name.startswith("step-000000000005.replaced-")
    assert torch.equal(Checkpoint.open(moved).model()["weight"], torch.ones(4))


def test_only_names_that_are_listed_can_be_given(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"a checkpoint cannot be called '\.\./x'"):
        save_checkpoint(tmp_path, "../x", {}, {}, {}, {}, SingleWorker())


# Killed and full


class Killed(BaseException):
    """The process is gone: nothing after this is executed."""


def fail_at(monkeypatch: pytest.MonkeyPatch, number: int, error: BaseException) -> list[str]:
    """The call with this number of all that change the disk fails; gives the names of the calls as they are made."""
    calls: list[str] = []

    def watched(name: str) -> Callable[..., Any]:
        real = getattr(os, name)

        def call(*args: Any, **kwargs: Any) -> Any:
            calls.append(name)
            if len(calls) == number:
                raise error
            return real(*args, **kwargs)

        return call

    for name in ("fsync", "rename", "mkdir"):
        monkeypatch.setattr(os, name, watched(name))
    return calls


def test_a_save_that_is_killed_anywhere_leaves_the_old_ones_and_nothing_that_looks_like_a_new_one(
    tmp_path: Path,
) -> None:
    for number in itertools.count(1):
        directory = tmp_path / str(number)
        old = snapshot(save(directory, 1))
        with pytest.MonkeyPatch.context() as patch, contextlib.suppress(Killed):
            patch.setattr(shutil, "rmtree", lambda *args, **kwargs: None)
            calls = fail_at(patch, number, Killed())
            save(directory, 2, weight=2.0)
            break  # there is no call with this number
        assert snapshot(directory / checkpoint_name(1)) == old
        assert {verify(path) for path in list_checkpoints(directory)} == {None}
        remove_leftovers(directory)
        assert sorted(directory.iterdir()) == list_checkpoints(directory)
        assert verify(save(directory, 2, weight=2.0)) is None
    assert calls == ["mkdir", *["fsync"] * 5, "rename", "fsync"]


@pytest.mark.parametrize("world_size", [1, 2])
def test_a_full_disk_is_told_with_its_numbers_and_costs_nothing_that_was_there(
    world_size: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    save(tmp_path, 1)
    before = snapshot(tmp_path)
    for number in range(1, 8):
        with pytest.MonkeyPatch.context() as patch:
            fail_at(patch, number, OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)))
            errors = on_workers(world_size, lambda workers: save(tmp_path, 2, weight=2.0, workers=workers))
        for error in errors:
            assert isinstance(error, CheckpointError)
            assert f"{tmp_path / checkpoint_name(2)} cannot be written: No space left on device" in str(error)
            assert "it needs" in str(error)
            assert "are free" in str(error)
        assert any(isinstance(error.__cause__, OSError) for error in errors)
        if (tmp_path / checkpoint_name(2)).exists():
            break  # it has its name already: only the last flush failed
        assert snapshot(tmp_path) == before
    assert number > 4
    assert verify(save(tmp_path, 3)) is None


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=5m", "tmpfs", str(disk)]
    if shutil.which("mount") is None or subprocess.run(mount, capture_output=True, check=False).returncode != 0:
        pytest.skip("only root can mount a small file system")
    yield disk
    subprocess.run(["umount", str(disk)], check=True)


def test_a_disk_that_is_really_full_costs_nothing_that_was_there(small_disk: Path) -> None:
    big = {"weight": torch.zeros(500_000)}
    save(small_disk, 1, model=big)
    save(small_disk, 2, model={"weight": torch.ones(500_000)})
    before = snapshot(small_disk)
    with pytest.raises(CheckpointError, match=r"No space left on device \(it needs 2,00\d,\d\d\d bytes; \d"):
        save(small_disk, 3, model=big)
    assert snapshot(small_disk) == before
    assert names(prune(small_disk, keep=1)) == [checkpoint_name(1)]
    assert verify(save(small_disk, 3, model=big)) is None


# Finding and removing


def test_only_checkpoints_are_listed_oldest_first(tmp_path: Path) -> None:
    for name in ("step-10", "step-000000000009", "step-2", "step-3.tmp-0123abcd", "step-4.damaged-0123abcd", "best"):
        (tmp_path / name).mkdir()
    (tmp_path / "step-7").write_text("a file", "utf-8")
    assert names(list_checkpoints(tmp_path)) == ["step-2", "step-000000000009", "step-10"]
    assert list_checkpoints(tmp_path / "nowhere") == []


def test_the_newest_valid_one_is_found_and_the_damaged_ones_after_it_are_named(tmp_path: Path) -> None:
    assert newest_valid(tmp_path) == (None, [])
    paths = [save(tmp_path, step) for step in (1, 2, 3, 4)]
    (paths[0] / "training.pt").unlink()
    (paths[3] / "manifest.json").unlink()
    (paths[2] / "worker-0.pt").write_bytes(b"x")
    newest, damaged = newest_valid(tmp_path)
    assert newest is not None
    assert newest.path == paths[1]
    assert damaged[0] == (paths[3], "manifest.json is missing")
    assert damaged[1][1].startswith("worker-0.pt: 1 bytes instead of")


def test_leftovers_of_ours_are_deleted_and_nothing_else(tmp_path: Path) -> None:
    save(tmp_path, 1)
    others = ["step-2.damaged-0123abcd", "step-3.replaced-0123abcd", "notes.tmp-0123abcd", "step-4.tmp-mine"]
    for name in [*others, "step-000000000002.tmp-0123abcd"]:
        (tmp_path / name).mkdir()
    assert names(remove_leftovers(tmp_path)) == ["step-000000000002.tmp-0123abcd"]
    assert sorted(names(list(tmp_path.iterdir()))) == sorted([checkpoint_name(1), *others])
    assert remove_leftovers(tmp_path / "nowhere") == []


def test_none_keeps_everything(tmp_path: Path) -> None:
    for step in range(5):
        save(tmp_path, step)
    assert prune(tmp_path, None, ()) == []
    assert names(prune(tmp_path, 2, [checkpoint_name(1)])) == [checkpoint_name(2), checkpoint_name(0)]
    assert names(list_checkpoints(tmp_path)) == [checkpoint_name(step) for step in (1, 3, 4)]


@settings(deadline=None, max_examples=40)
@given(
    st.lists(st.sampled_from(["good", "unhealthy", "damaged"]), max_size=6),
    st.integers(0, 3),
    st.sets(st.integers(0, 5)),
)
def test_pruning_never_takes_the_last_good_one(
    tmp_path_factory: pytest.TempPathFactory, kinds: list[str], keep: int, protected: set[int]
) -> None:
    directory = tmp_path_factory.mktemp("checkpoints")
    for step, kind in enumerate(kinds):
        path = save(directory, step, healthy=kind != "unhealthy")
        if kind == "damaged":
            (path / "training.pt").unlink()
    prune(directory, keep, [checkpoint_name(step) for step in protected])
    left = {Checkpoint.open(path).step for path in list_checkpoints(directory) if verify(path) is None}
    valid = [step for step, kind in enumerate(kinds) if kind != "damaged"]
    good = [step for step, kind in enumerate(kinds) if kind == "good"]
    assert left == {*valid[len(valid) - min(keep, len(valid)) :], *good[-1:], *(protected & set(valid))}


def test_pruning_that_is_killed_leaves_no_checkpoint_that_is_half_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for step in (1, 2):
        save(tmp_path, step)

    def killed(path: Path, **kwargs: Any) -> None:
        (Path(path) / "training.pt").unlink()
        raise Killed

    monkeypatch.setattr(shutil, "rmtree", killed)
    with pytest.raises(Killed):
        prune(tmp_path, 1)
    assert [verify(path) for path in list_checkpoints(tmp_path)] == [None]
    monkeypatch.undo()
    assert len(remove_leftovers(tmp_path)) == 1
