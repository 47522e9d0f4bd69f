from __future__ import annotations

import json
import time
from pathlib import Path

import pytest

from tests.end_to_end.runs import EXPERIMENT, run, weights
from trainctl.core.engine.launch import NoDisplay, start
from trainctl.core.engine.options import RunOptions
from trainctl.core.engine.reporting.profile import SelfTimes


def test_a_part_is_charged_without_the_parts_that_it_calls() -> None:
    times, began = SelfTimes(), time.perf_counter()
    with times.part("outer"):
        with times.part("inner"):
            time.sleep(0.02)
        with times.part("inner"):
            time.sleep(0.02)
    whole = time.perf_counter() - began
    assert times.seconds["inner"] >= 0.04
    assert 0 < times.seconds["outer"] <= whole - times.seconds["inner"]


def test_a_profile_shows_where_the_time_went_and_changes_no_bit(tmp_path: Path) -> None:
    plain = run(tmp_path, "plain")
    (tmp_path / "small.py").write_text(EXPERIMENT)
    options = RunOptions(tmp_path / "small.py", seed=1, name="profiled", runs_dir=tmp_path / "runs", profile=2)
    profiled = start(options, NoDisplay(), ["test"])
    assert weights(profiled) == weights(plain)
    table = (profiled.run / "profile.txt").read_text().splitlines()
    parts = {line[:24].strip() for line in table[1:]}
    assert {"environment", "act", "returns", "forward and backward", "step", "collect, store", "sum"} <= parts
    shares = [float(line.split()[-2].rstrip("%")) for line in table[1:]]
    assert sum(shares[:-1]) == pytest.approx(100, abs=1)
    events = json.loads((profiled.run / "profile.json").read_text())["traceEvents"]
    assert {"environment", "forward and backward"} <= {event["name"] for event in events}


def test_a_profile_of_compiled_updates_shows_the_graph(tmp_path: Path) -> None:
    (tmp_path / "small.py").write_text(EXPERIMENT)
    options = RunOptions(tmp_path / "small.py", runs_dir=tmp_path / "runs", compile=True, profile=2)
    table = (start(options, NoDisplay(), ["test"]).run / "profile.txt").read_text()
    assert "forward, backward, step" in table


def test_a_run_that_ends_too_soon_says_that_there_is_no_profile(tmp_path: Path) -> None:
    (tmp_path / "small.py").write_text(EXPERIMENT)
    said: list[str] = []

    class Listening(NoDisplay):
        def warn(self, text: str) -> None:
            said.append(text)

    options = RunOptions(tmp_path / "small.py", {"steps": "200"}, runs_dir=tmp_path / "runs", profile=99)
    start(options, Listening(), ["test"])
    assert said == ["no profile: the run ended before 102 rollouts were begun"]
