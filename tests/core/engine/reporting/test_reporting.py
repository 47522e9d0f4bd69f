"""`metrics.jsonl` has each interval once, whatever was killed; a full disk stops nothing and loses nothing."""

from __future__ import annotations

import json
import math
import os
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trainctl.core.engine.reporting.reporting import JsonLinesSink, NoSink, Sinks
from trainctl.core.engine.saving import growing_file
from trainctl.core.engine.saving.checkpoint import Stateful
from trainctl.core.engine.saving.growing_file import append_whole, cut_back
from trainctl.core.errors import UsageError
from trainctl.core.metrics import LoggingPackage


def package(total_steps: int, **changes: Any) -> LoggingPackage:
    """An interval with recognisable numbers."""
    fields: dict[str, Any] = {
        "kind": "train",
        "stage": "ppo",
        "stage_index": 1,
        "total_steps": total_steps,
        "stage_steps": total_steps,
        "means": {"episode/return": total_steps / 4, "loss/ppo/value": 0.5},
        "counts": {"episode/return": 3.0, "loss/ppo/value": 64.0},
        "wall_seconds": 1.5,
    }
    return LoggingPackage(**{**fields, **changes})


def steps_in(path: Path) -> list[int]:
    return [json.loads(line)["total_steps"] for line in path.read_text("utf-8").splitlines()]


def test_each_interval_is_one_line_at_once(tmp_path: Path) -> None:
    sink = JsonLinesSink(tmp_path / "metrics.jsonl")
    for steps in (100, 200):
        sink.write(package(steps))
        assert json.loads(sink.path.read_text("utf-8").splitlines()[-1]) == package(steps).to_json()
    sink.note("pipeline/stage", "the next stage", 200)
    sink.write(package(300, should_log=False, means={"x": math.nan}))
    assert steps_in(sink.path) == [100, 200, 300]
    assert json.loads(sink.path.read_text("utf-8").splitlines()[-1])["means"] == {"x": None}


def test_a_resume_goes_on_where_the_checkpoint_was_and_keeps_what_it_cuts_off(tmp_path: Path) -> None:
    sink = JsonLinesSink(tmp_path / "metrics.jsonl")
    sink.write(package(100))
    saved = sink.state_dict()
    assert saved == {"offset": sink.path.stat().st_size}
    sink.write(package(200))
    with sink.path.open("a", encoding="utf-8") as file:
        file.write('{"kind": "tr')  # killed in the middle of a line
    resumed = JsonLinesSink(sink.path)
    resumed.load_state_dict(saved)
    resumed.write(package(250))
    assert steps_in(sink.path) == [100, 250]
    dropped = (tmp_path / "metrics.dropped.jsonl").read_text("utf-8")
    assert json.loads(dropped.splitlines()[0])["total_steps"] == 200
    assert dropped.endswith('{"kind": "tr\n')


@settings(deadline=None, max_examples=50)
@given(st.lists(st.tuples(st.integers(0, 4), st.integers(0, 4), st.integers(0, 30)), max_size=5))
def test_no_kill_changes_a_byte_of_it(
    tmp_path_factory: pytest.TempPathFactory, attempts: list[tuple[int, int, int]]
) -> None:
    """Each attempt writes some intervals, saves, writes some more and a part of a line, and is killed."""
    path = tmp_path_factory.mktemp("run") / "metrics.jsonl"
    state: dict[str, int] = {}
    saved_at, offered = 0, 0
    for before, after, part in attempts:
        sink = JsonLinesSink(path)
        sink.load_state_dict(state)
        for interval in range(saved_at, saved_at + before):
            sink.write(package(interval))
        state, saved_at = sink.state_dict(), saved_at + before
        for interval in range(saved_at, saved_at + after):
            sink.write(package(interval))
        append_whole(path, b'{"kind": "train", "stage": "ppo"'[:part])
        offered += before + after
    JsonLinesSink(path).load_state_dict(state)
    lines = path.read_text("utf-8").splitlines(keepends=True) if path.exists() else []
    assert lines == [json.dumps(package(interval).to_json()) + "\n" for interval in range(saved_at)]
    dropped = path.with_name("metrics.dropped.jsonl")
    kept = [line for line in dropped.read_text("utf-8").splitlines() if line.endswith("}")] if dropped.exists() else []
    assert len(lines) + len(kept) == offered  # nothing is lost


def test_a_run_that_begins_again_without_a_checkpoint_begins_with_an_empty_file(tmp_path: Path) -> None:
    JsonLinesSink(tmp_path / "metrics.jsonl").write(package(100))
    sinks = Sinks([JsonLinesSink(tmp_path / "metrics.jsonl")])
    sinks.load_state_dict({})
    assert steps_in(tmp_path / "metrics.jsonl") == []
    assert steps_in(tmp_path / "metrics.dropped.jsonl") == [100]


class FullDisk:
    """`open` for appending succeeds, writes half of it, and says that there is no space."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.is_full = False
        real = Path.open

        def opened(path: Path, mode: str = "r", *args: Any, **kwargs: Any) -> Any:
            if self.is_full and mode == "ab":
                with real(path, "ab") as file:
                    file.write(b"half of it")
                raise OSError(28, os.strerror(28), str(path))
            return real(path, mode, *args, **kwargs)

        monkeypatch.setattr(growing_file.Path, "open", opened)


def test_a_full_disk_is_told_once_and_costs_no_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    disk, told = FullDisk(monkeypatch), list[str]()
    sink = JsonLinesSink(tmp_path / "metrics.jsonl", told.append)
    sink.write(package(100))
    disk.is_full = True
    for steps in (200, 300):
        sink.write(package(steps))
    assert steps_in(sink.path) == [100]
    assert len(told) == 1
    assert f"{sink.path} cannot be written: No space left on device. The training goes on" in told[0]
    disk.is_full = False
    sink.write(package(400))
    assert steps_in(sink.path) == [100, 200, 300, 400]
    disk.is_full = True
    sink.write(package(500))
    assert len(told) == 2  # it is full once more
    disk.is_full = False
    sink.close()
    assert steps_in(sink.path) == [100, 200, 300, 400, 500]


def test_what_is_cut_off_is_kept_before_it_is_cut_off(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_bytes(b"0123456789")
    disk = FullDisk(monkeypatch)
    disk.is_full = True
    with pytest.raises(UsageError, match=r"file cannot be cut back .*No space left on device"):
        cut_back(tmp_path / "file", 4, tmp_path / "dropped")
    assert (tmp_path / "file").read_bytes() == b"0123456789"
    disk.is_full = False
    cut_back(tmp_path / "file", 4, tmp_path / "dropped")
    assert (tmp_path / "file").read_bytes() == b"0123"
    assert (tmp_path / "dropped").read_bytes() == b"456789"
    cut_back(tmp_path / "file", 9, tmp_path / "dropped")
    cut_back(tmp_path / "missing", 9, tmp_path / "dropped")
    assert (tmp_path / "file").read_bytes() == b"0123"


# Several as one


class Listener:
    """A sink that remembers what it was told, and has nothing to save."""

    def __init__(self) -> None:
        self.told: list[Any] = []

    def write(self, package: LoggingPackage) -> None:
        self.told.append(package.total_steps)

    def note(self, tag: str, text: str, total_steps: int) -> None:
        self.told.append((tag, text, total_steps))

    def close(self) -> None:
        self.told.append("closed")


def test_all_sinks_are_told_everything_and_those_with_a_state_are_saved(tmp_path: Path) -> None:
    first, second = Listener(), Listener()
    sinks = Sinks([first, JsonLinesSink(tmp_path / "metrics.jsonl"), second, NoSink()])
    sinks.write(package(100))
    sinks.note("pipeline/stage", "ppo begins", 100)
    sinks.close()
    assert first.told == second.told == [100, ("pipeline/stage", "ppo begins", 100), "closed"]
    assert sinks.state_dict() == {"JsonLinesSink": {"offset": (tmp_path / "metrics.jsonl").stat().st_size}}
    assert isinstance(sinks, Stateful)
    assert not isinstance(first, Stateful)
