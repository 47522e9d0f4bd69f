from __future__ import annotations

import json
import math
from pathlib import Path

from trainctl import LoggingPackage
from trainctl.core.engine.reporting.metrics_file import follow, read_packages


def package(step: int, value: float = 1.0) -> LoggingPackage:
    return LoggingPackage(
        kind="train",
        stage="first",
        stage_index=0,
        total_steps=step,
        stage_steps=step,
        means={"episode/return": value},
        counts={"episode/return": 2.0},
        wall_seconds=0.5,
    )


def line(step: int) -> bytes:
    return json.dumps(package(step).to_json()).encode() + b"\n"


def test_what_was_written_is_read_back_and_half_a_line_is_not(tmp_path: Path) -> None:
    file = tmp_path / "metrics.jsonl"
    file.write_bytes(line(10) + b"rubbish\n" + line(20) + line(30)[:20])
    assert read_packages(file) == [package(10), package(20)]
    assert read_packages(tmp_path / "none") == []


def test_a_mean_that_json_cannot_hold_becomes_nan_again(tmp_path: Path) -> None:
    file = tmp_path / "metrics.jsonl"
    file.write_text(json.dumps(package(10, math.inf).to_json()) + "\n")
    assert math.isnan(read_packages(file)[0].means["episode/return"])


def test_following_sees_each_line_once_across_halves_and_cuts(tmp_path: Path) -> None:
    file = tmp_path / "metrics.jsonl"
    file.write_bytes(line(10) + line(20) + line(30)[:15])
    happenings = iter(
        [
            lambda: None,
            lambda: file.write_bytes(line(10) + line(20) + line(30)),  # the half line becomes whole
            lambda: file.write_bytes(line(10)),  # the run went back to a checkpoint
            lambda: file.write_bytes(line(10) + line(25)),
        ]
    )

    def is_over() -> bool:
        happening = next(happenings, None)
        if happening is not None:
            happening()
        return happening is None

    seen = [found.total_steps for found in follow(file, is_over, earlier=1, pause=0)]
    assert seen == [20, 30, 25]
