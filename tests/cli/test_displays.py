from __future__ import annotations

from pathlib import Path

import pytest

from trainctl import LoggingPackage
from trainctl.cli.displays import PlainDisplay, QuietDisplay, interval_line
from trainctl.core.engine.progress import Progress


def package(means: dict[str, float], should_log: bool = True) -> LoggingPackage:
    return LoggingPackage(
        kind="train", stage="ppo", stage_index=0, total_steps=10_240, stage_steps=10_240, means=means,
        counts={}, wall_seconds=2.0, should_log=should_log,
    )  # fmt: skip


def test_an_intervals_line_begins_with_what_matters_most() -> None:
    means = {
        "loss/ppo/policy": -0.0123,
        "train/entropy": 0.5,
        "episode/distance": 3.0,
        "episode/success": 0.25,
        "episode/length": 20.0,
        "episode/return": 212.4,
        "speed/steps_per_second": 345.6,
    }
    assert interval_line(package(means)) == (
        "      10,240  ppo  return 212.40  length 20.00  success 0.2500  distance 3.00  ppo/policy -0.0123  346 steps/s"
    )


def test_an_interval_without_episodes_has_a_line_too() -> None:
    assert interval_line(package({})) == "      10,240  ppo"


def test_what_is_not_to_be_logged_is_not_shown(capsys: pytest.CaptureFixture[str]) -> None:
    display = PlainDisplay()
    display.write(package({}, should_log=False))
    assert capsys.readouterr().err == ""


def test_a_quiet_display_shows_warnings_only(capsys: pytest.CaptureFixture[str]) -> None:
    display = QuietDisplay()
    display.begin(Path("runs/first"), {"stages": []}, Progress(), "new run")
    display.write(package({"episode/return": 1.0}))
    display.note("pipeline/stages", "a stage begins", 0)
    display.warn("the disk is full")
    display.close()
    assert capsys.readouterr() == ("", "warning: the disk is full\n")
    assert display.directory == Path("runs/first")
