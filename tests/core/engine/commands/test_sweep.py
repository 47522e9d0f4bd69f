from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from trainctl import TrainctlError
from trainctl.core.engine.commands.search_space import parse
from trainctl.core.engine.commands.sweep import COMPLETE, PRUNED, RUNNING, Sweep
from trainctl.core.metrics import LoggingPackage

pytest.importorskip("optuna", reason="a sweep needs the extra `sweep`")

SPACE = [parse("learning_rate=1e-5..1e-2:log"), parse("num_envs=8,16")]


def sweep_in(folder: Path, **declaration: Any) -> Sweep:
    usual = {"metric": "episode/return", "lower_is_better": False, "pruner": "median", "seed": 1}
    return Sweep(folder, {**usual, **declaration}, SPACE, interval=100)


def report(sweep: Sweep, number: int, returns: list[float]) -> None:
    """What a run writes while it trains; its intervals are a little longer than asked for."""
    lines = [
        LoggingPackage(
            kind="train", stage="one", stage_index=0, total_steps=at * 104, stage_steps=at * 104,
            means={"episode/return": value, "loss/total": -value}, counts={}, wall_seconds=1.0,
        ).to_json()
        for at, value in enumerate(returns, start=1)
    ]  # fmt: skip
    path = sweep.run_of(number).metrics
    path.parent.mkdir(exist_ok=True)
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))


def test_a_trial_that_falls_behind_the_others_is_to_be_pruned_and_no_other(tmp_path: Path) -> None:
    sweep = sweep_in(tmp_path / "sweep")
    with sweep.opened():
        for number in range(5):
            assert sweep.new_trial().number == number
            report(sweep, number, [10, 20 + number, 30])
            assert not sweep.should_prune(number)
            assert sweep.complete(number) == 30
        good, bad = sweep.new_trial().number, sweep.new_trial().number
        report(sweep, good, [5])
        report(sweep, bad, [5, 8])
        assert sweep.should_prune(bad)
        sweep.prune(bad)
        report(sweep, good, [15, 25])
        assert not sweep.should_prune(good)
        states = {trial.number: (trial.state, trial.value) for trial in sweep.trials()}
    assert states[bad] == (PRUNED, 5)
    assert states[good] == (RUNNING, 25)


@pytest.mark.parametrize(("lower_is_better", "best"), [(False, 2), (True, 0)])
def test_the_best_is_the_complete_trial_with_the_best_last_value(
    tmp_path: Path, lower_is_better: bool, best: int
) -> None:
    sweep = sweep_in(tmp_path / "sweep", lower_is_better=lower_is_better)
    with sweep.opened():
        assert sweep.best() is None
        for number in range(4):
            sweep.new_trial()
            report(sweep, number, [99, number])
        for number in range(3):
            sweep.complete(number)
        found = sweep.best()
    assert found is not None
    assert (found.number, found.state, found.value) == (best, COMPLETE, best)


def test_trials_are_found_again_with_their_parameters_and_go_on_where_the_search_was(tmp_path: Path) -> None:
    proposed = []
    for number in range(3):  # each time another process
        sweep = sweep_in(tmp_path / "killed")
        with sweep.opened():
            assert [trial.parameters for trial in sweep.unfinished()] == proposed
            trial = sweep.new_trial()
            assert trial.number == number
            proposed.append(trial.parameters)
    sweep = sweep_in(tmp_path / "whole")
    with sweep.opened():
        assert [sweep.new_trial().parameters for _ in range(3)] == proposed
    assert len({one["learning_rate"] for one in proposed}) == 3
    assert {one["num_envs"] for one in proposed} <= {"8", "16"}


def test_a_journal_that_ends_in_the_middle_of_a_line_is_read_to_there(tmp_path: Path) -> None:
    sweep = sweep_in(tmp_path / "sweep")
    with sweep.opened():
        first = sweep.new_trial()
    journal = tmp_path / "sweep" / "journal.log"
    journal.write_bytes(journal.read_bytes() + b'{"op_code":4,"work')
    again = sweep_in(tmp_path / "sweep")
    with again.opened():
        assert again.unfinished() == [first]
        assert again.new_trial().number == 1


def test_what_the_parameters_have_lost_to_a_kill_is_proposed_again(tmp_path: Path) -> None:
    sweep = sweep_in(tmp_path / "sweep")
    with sweep.opened():
        sweep.new_trial()
    journal = tmp_path / "sweep" / "journal.log"
    lines = journal.read_bytes().splitlines(keepends=True)
    journal.write_bytes(b"".join(lines[:-1]))  # without num_envs
    with (again := sweep_in(tmp_path / "sweep")).opened():
        (trial,) = again.unfinished()
    assert set(trial.parameters) == {"learning_rate", "num_envs"}


def test_another_sweep_or_another_folder_is_refused(tmp_path: Path) -> None:
    with (
        sweep_in(tmp_path / "sweep").opened(),
        pytest.raises(TrainctlError, match="in use by another process"),
        sweep_in(tmp_path / "sweep").opened(),
    ):
        raise AssertionError("two processes would sweep in one folder")
    with pytest.raises(TrainctlError, match="metric: episode/return, now valid/return"):
        sweep_in(tmp_path / "sweep", metric="valid/return")
    (tmp_path / "notes").mkdir()
    (tmp_path / "notes" / "mine.txt").touch()
    with pytest.raises(TrainctlError, match="it is no sweep"):
        sweep_in(tmp_path / "notes")


def test_a_metric_that_no_run_has_is_named_with_those_that_are_there(tmp_path: Path) -> None:
    sweep = sweep_in(tmp_path / "sweep", metric="episode/retrun")
    with sweep.opened():
        report(sweep, sweep.new_trial().number, [1])
        with pytest.raises(TrainctlError, match=r"no metric 'episode/retrun'(.|\n)*did you mean 'episode/return'"):
            sweep.complete(0)
