from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.cli.conftest import TINY, Trainctl


def test_a_finished_run_is_listed_with_what_it_reached(trainctl: Trainctl, finished: Path) -> None:
    (run,) = trainctl("runs", "--json").document
    last = json.loads((finished / "metrics.jsonl").read_text().splitlines()[-1])
    assert (run["run"], run["state"], run["stage"], run["total_steps"]) == (
        "runs/first",
        "complete",
        "ppo+imitation",
        128,
    )
    assert run["last_return"] == last["means"]["episode/return"]
    assert run["best_return"] >= run["last_return"]
    assert run["attempts"] == 1


def test_a_run_that_died_without_a_word_was_killed(trainctl: Trainctl, finished: Path) -> None:
    record = json.loads((finished / "run.json").read_text())
    record["attempts"][0] |= {"status": "running", "ended": None}
    (finished / "run.json").write_text(json.dumps(record))
    assert [run["state"] for run in trainctl("runs", "--json").document] == ["killed"]


def test_damaged_records_hide_no_other_run(trainctl: Trainctl, finished: Path) -> None:
    (finished.parent / "broken").mkdir()
    (finished.parent / "broken" / "run.json").write_text("{")
    states = {Path(run["run"]).name: run["state"] for run in trainctl("runs", "--json").document}
    assert states == {"first": "complete", "broken": "damaged"}


def test_what_a_kill_left_while_a_run_was_made_is_no_run(trainctl: Trainctl, finished: Path) -> None:
    from trainctl.cli.completion import complete_runs

    finished.rename(finished.parent / ".first.new-0a1b2c3d")
    assert trainctl("runs", "--json").document == []
    assert complete_runs("") == complete_runs("runs/") == []
    assert "first" not in trainctl("resume", "--checkpoint", "runs/other").err


def test_the_table_fits_a_terminal_of_80_columns(
    trainctl: Trainctl, finished: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    (row,) = [line for line in trainctl("runs").out.splitlines() if line.lstrip().startswith("first")]
    assert row.split()[:4] == ["first", "complete", "ppo+imitation", "128"]


def test_a_folder_that_is_not_there_is_named(trainctl: Trainctl) -> None:
    said = trainctl("runs", "--runs-dir", "elsewhere")
    assert said.code == 2
    assert "there is no folder elsewhere" in said.err


def test_tail_shows_the_last_intervals_of_a_run_and_how_it_ended(trainctl: Trainctl, finished: Path) -> None:
    said = trainctl("tail", "runs/first", "--lines", 2)
    lines = said.out.splitlines()
    assert [line.split()[0] for line in lines[:2]] == ["96", "128"]
    assert lines[2:] == ["runs/first: complete, 128 steps"]


def test_the_shell_completes_runs_and_their_checkpoints(trainctl: Trainctl, finished: Path) -> None:
    from trainctl.cli.completion import complete_runs

    assert complete_runs("") == complete_runs("runs/fi") == complete_runs("ru") == ["runs/first"]
    assert complete_runs("runs/first/")[-1] == "runs/first/checkpoints/step-000000000128"
    assert complete_runs("runs/other") == []


def test_a_new_run_is_listed_before_it_has_an_interval(trainctl: Trainctl, finished: Path) -> None:
    assert trainctl("run", TINY, "--name", "second", "--quiet").code == 0
    (finished.parent / "second" / "metrics.jsonl").unlink()
    second = {run["run"]: run for run in trainctl("runs", "--json").document}["runs/second"]
    assert (second["state"], second["last_return"], second["steps_per_second"]) == ("complete", None, None)
