"""Both readers of TensorBoard see each series once, in order and without dead points, after any number of kills."""

from __future__ import annotations

import json
import re
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.backend.event_processing.io_wrapper import IsTensorFlowEventsFile

from tests.core.engine.reporting.test_reporting import FullDisk, package
from tests.kill.processes import EXPERIMENTS, Command
from trainctl.core.engine.reporting.reporting import JsonLinesSink, Sinks, TensorBoardSink


def read(directory: Path) -> EventAccumulator:
    reader = EventAccumulator(str(directory), size_guidance={"scalars": 0, "tensors": 0})
    reader.Reload()
    return reader


def steps(directory: Path, tag: str = "episode/return") -> list[int]:
    reader = read(directory)
    return [point.step for point in reader.Scalars(tag)] if tag in reader.Tags()["scalars"] else []


def test_means_are_scalars_over_total_steps(tmp_path: Path) -> None:
    sink = TensorBoardSink(tmp_path, 0)
    sink.write(package(100))
    sink.write(package(200, should_log=False))
    sink.write(package(200, kind="valid", means={"episode/return": 9.0, "valid/success": 1.0}))
    sink.note("pipeline/stage_begins", "stage 2: ppo", 100)
    reader = read(tmp_path)
    assert set(reader.Tags()["scalars"]) == {
        *("episode/return", "loss/ppo/value", "pipeline/stage", "valid/episode/return", "valid/success")
    }
    assert [(point.step, point.value) for point in reader.Scalars("episode/return")] == [(100, 25.0)]
    assert [(point.step, point.value) for point in reader.Scalars("pipeline/stage")] == [(100, 1.0)]
    assert [point.step for point in reader.Scalars("valid/success")] == [200]
    text = reader.Tensors("pipeline/stage_begins/text_summary")[0]
    assert (text.step, text.tensor_proto.string_val[0]) == (100, b"stage 2: ppo")


def test_hyperparameters_and_the_overview_stand_in_the_run_itself_and_once(tmp_path: Path) -> None:
    for start_step in (0, 100):
        sink = TensorBoardSink(tmp_path / "tensorboard", start_step)
        sink.hyperparameters({"learning_rate": 1e-3, "hidden": (64, 64), "name": "x"}, ["episode/return"])
        sink.overview()
    assert len(list((tmp_path / "tensorboard").iterdir())) == 1
    reader = read(tmp_path / "tensorboard")
    shown = reader.summary_metadata["_hparams_/session_start_info"].plugin_data.content
    assert b"learning_rate" in shown
    assert b"(64, 64)" in shown
    assert b"episode/return" in reader.summary_metadata["_hparams_/experiment"].plugin_data.content
    layout = reader.Tensors("custom_scalars__config__")[0].tensor_proto.string_val[0]
    for tag in (b"episode/return", b"loss/", b"train/approx_kl", b"speed/steps_per_second"):
        assert tag in layout


def attempt(root: Path, state: dict[str, Any], start: int) -> Sinks:
    sinks = Sinks([JsonLinesSink(root / "metrics.jsonl"), TensorBoardSink(root / "tensorboard", start)])
    sinks.load_state_dict(state)
    return sinks


def test_a_resume_has_neither_a_gap_nor_a_double_nor_a_dead_point(tmp_path: Path) -> None:
    first = attempt(tmp_path, {}, 0)
    for at in (100, 200, 300):
        first.write(package(at))
    saved = first.state_dict()
    for at in (400, 500):
        first.write(package(at))
    dead = attempt(tmp_path, saved, 300)  # killed before it saved
    dead.write(package(350))
    second = attempt(tmp_path, saved, 300)
    for at in (400, 450):
        second.write(package(at))
    assert steps(tmp_path / "tensorboard") == [100, 200, 300, 400, 450]
    dropped = list((tmp_path / "tensorboard.dropped").iterdir())
    assert len(dropped) == 2
    assert not any(IsTensorFlowEventsFile(str(path)) for path in dropped)  # else it would be shown as a run


@settings(deadline=None, max_examples=25)
@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 3), st.integers(0, 40)), min_size=1, max_size=5))
def test_no_kill_shows_in_any_series(
    tmp_path_factory: pytest.TempPathFactory, attempts: list[tuple[int, int, int]]
) -> None:
    """Each attempt writes some intervals, saves, writes some more, and is killed in the middle of a record."""
    root = tmp_path_factory.mktemp("run")
    state: dict[str, Any] = {}
    saved_at = 0
    for before, after, missing in attempts:
        sinks = attempt(root, state, saved_at * 100)
        for interval in range(saved_at + 1, saved_at + before + 1):
            sinks.write(package(interval * 100))
        state, saved_at = sinks.state_dict(), saved_at + before
        for interval in range(saved_at + 1, saved_at + after + 1):
            sinks.write(package(interval * 100))
        if after:
            newest = max((root / "tensorboard").iterdir())
            with newest.open("r+b") as file:
                file.truncate(newest.stat().st_size - missing)
    attempt(root, state, saved_at * 100).write(package((saved_at + 1) * 100))
    expected = [interval * 100 for interval in range(1, saved_at + 2)]
    for tag in ("episode/return", "loss/ppo/value", "pipeline/stage"):
        assert steps(root / "tensorboard", tag) == expected
    lines = [json.loads(line) for line in (root / "metrics.jsonl").read_text("utf-8").splitlines()]
    values = [point.value for point in read(root / "tensorboard").Scalars("episode/return")]
    assert values == [line["means"]["episode/return"] for line in lines]


def test_a_new_file_comes_after_all_others_whatever_the_clock_says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for clock in (2_000_000_000.0, 2_000_000_000.5, 1_000_000_000.0):
        monkeypatch.setattr(time, "time", lambda clock=clock: clock)
        before = sorted(tmp_path.iterdir())
        TensorBoardSink(tmp_path, 0).write(package(100))
        assert sorted(tmp_path.iterdir())[:-1] == before


def test_files_of_others_are_left_alone(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("mine", "utf-8")
    sink = TensorBoardSink(tmp_path, 0)
    sink.write(package(100))
    assert list(sink.state_dict()) == [path.name for path in tmp_path.iterdir() if path.name != "notes.txt"]
    TensorBoardSink(tmp_path, 0).load_state_dict({})
    assert [path.name for path in tmp_path.iterdir()] == ["notes.txt"]


def test_a_full_disk_is_told_once_and_costs_no_point(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    disk, told = FullDisk(monkeypatch), list[str]()
    sink = TensorBoardSink(tmp_path, 0, told.append)
    disk.is_full = True
    sink.write(package(100))
    disk.is_full = False
    sink.write(package(200))
    disk.is_full = True
    for at in (300, 400):
        sink.write(package(at))
    assert steps(tmp_path) == [100, 200]
    assert len(told) == 2
    disk.is_full = False
    sink.close()
    assert steps(tmp_path) == [100, 200, 300, 400]


def test_a_directory_that_cannot_be_made_stops_nothing(tmp_path: Path) -> None:
    (tmp_path / "tensorboard").write_text("a file in the way", "utf-8")
    told = list[str]()
    sink = TensorBoardSink(tmp_path / "tensorboard", 0, told.append)
    sink.write(package(100))
    assert sink.state_dict() == {}
    assert len(told) == 1


# The program that users look at


@pytest.fixture(params=["true", "false"], ids=["fast reader", "slow reader"])
def program(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """The address of a TensorBoard that watches `tmp_path` with one of its two readers."""
    options = ["--logdir", str(tmp_path), "--port", "0", "--host", "127.0.0.1", "--reload_interval", "1"]
    command = [sys.executable, "-m", "tensorboard.main", *options, f"--load_fast={request.param}"]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        yield next(match[0] for line in process.stderr if (match := re.search(r"http://127\.0\.0\.1:\d+", line)))
        process.terminate()


def shown(address: str, tag: str, count: int) -> dict[str, list[tuple[int, float]]]:
    """Run -> points of one series, as soon as there are so many of them; after 30 seconds as they are."""
    deadline = time.monotonic() + 30
    while True:
        tags = json.load(urllib.request.urlopen(f"{address}/data/plugin/scalars/tags"))
        series = {run: points_of(address, run, tag) for run in tags if tag in tags[run]}
        if sum(map(len, series.values())) == count or time.monotonic() > deadline:
            return series
        time.sleep(0.2)


def points_of(address: str, run: str, tag: str) -> list[tuple[int, float]]:
    points = json.load(urllib.request.urlopen(f"{address}/data/plugin/scalars/scalars?run={run}&tag={tag}"))
    return [(step, value) for _, step, value in points]


def test_a_tensorboard_that_was_watching_sees_the_resumed_series(tmp_path: Path, program: str) -> None:
    first = attempt(tmp_path, {}, 0)
    for at in (100, 200):
        first.write(package(at))
    saved = first.state_dict()
    first.write(package(300))
    first.write(package(400))
    assert shown(program, "episode/return", 4) == {"tensorboard": [(at, at / 4) for at in (100, 200, 300, 400)]}
    second = attempt(tmp_path, saved, 200)
    for at in (250, 300, 350):
        second.write(package(at))
    assert shown(program, "episode/return", 5) == {"tensorboard": [(at, at / 4) for at in (100, 200, 250, 300, 350)]}


@pytest.mark.soak
def test_a_run_that_was_killed_five_times_is_shown_without_gap_double_or_step_back(
    tmp_path: Path, program: str
) -> None:
    words = ["run", EXPERIMENTS / "cartpole.py", "--quiet", "--name", "killed", "--set", "steps=40_000"]
    run = tmp_path / "runs" / "killed"
    for number in range(1, 6):
        command = Command(tmp_path, *words)
        command.wait_until(lambda number=number: len(list((run / "checkpoints").glob("step-*"))) >= 4 * number)
        command.process.kill()
        assert command.wait() == -signal.SIGKILL
    assert Command(tmp_path, *words).wait() == 0
    assert len(json.loads((run / "run.json").read_text())["attempts"]) == 6
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text("utf-8").splitlines()]
    for tag in ("loss/total", "speed/steps_per_second"):
        (series,) = shown(program, tag, len(lines)).values()
        assert series == [(line["total_steps"], pytest.approx(line["means"][tag], rel=1e-6)) for line in lines]
