"""A run that was killed goes on as if it had not been."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from tests.end_to_end.runs import EXPERIMENT, checkpoint_steps, go_on, metrics, run, weights
from trainctl.core.engine.launch import NoDisplay, start
from trainctl.core.engine.options import RunOptions
from trainctl.core.engine.saving.run_directory import RunDirectory


def killed_after(outcome_run: Path, folder: Path, step: int) -> Path:
    """A copy of a run as a kill just after the checkpoint at `step` would have left it: logs and all."""
    copy = folder / "runs" / f"killed-{step}"
    shutil.copytree(outcome_run, copy)
    for checkpoint in (copy / "checkpoints").glob("step-*"):
        if int(checkpoint.name.removeprefix("step-")) > step:
            shutil.rmtree(checkpoint)
    record = json.loads((copy / "run.json").read_text())
    record["attempts"][-1]["status"] = "running"
    (copy / "run.json").write_text(json.dumps(record))
    return copy


def test_a_kill_at_the_end_of_any_rollout_changes_nothing(tmp_path: Path) -> None:
    whole = run(tmp_path, "whole", save=1)
    for step in range(200, 2000, 200):
        resumed = go_on(killed_after(whole.run, tmp_path, step))
        assert weights(resumed) == weights(whole), step
        assert metrics(resumed) == metrics(whole), step
        assert checkpoint_steps(resumed) == checkpoint_steps(whole), step


def test_a_training_in_bfloat16_goes_on_in_bfloat16_with_the_same_bits(tmp_path: Path) -> None:
    in_float32 = run(tmp_path, "in-float32", save=1)
    options = RunOptions(tmp_path / "small.py", {"save": "1"}, 1, name="whole", runs_dir=tmp_path / "runs")
    whole = start(replace(options, bfloat16=True), NoDisplay(), ["test"])
    assert weights(whole) != weights(in_float32)
    resumed = go_on(killed_after(whole.run, tmp_path, 1000))
    assert weights(resumed) == weights(whole)
    assert metrics(resumed) == metrics(whole)


def test_tensorboard_has_no_gap_and_no_double_point_after_resumes(tmp_path: Path) -> None:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    whole = run(tmp_path, "whole", save=1)
    killed = killed_after(whole.run, tmp_path, 1200)
    go_on(killed)
    events = EventAccumulator(str(killed / "tensorboard"))
    events.Reload()
    lines = metrics(whole)
    for tag in ("episode/return", "loss/total", "train/learning_rate"):
        points = [(point.step, point.value) for point in events.Scalars(tag)]
        assert points == [(line["total_steps"], pytest.approx(line["means"][tag], rel=1e-6)) for line in lines], tag


def test_a_finished_run_says_so(tmp_path: Path) -> None:
    whole = run(tmp_path, "whole")
    again = go_on(whole.run)
    assert again.already_complete
    assert again.exit_code == 0
    assert again.total_steps == 2000


def test_a_run_without_a_checkpoint_begins_anew_and_ends_the_same(tmp_path: Path) -> None:
    whole = run(tmp_path, "whole", save=1)
    killed = killed_after(whole.run, tmp_path, 0)
    assert weights(go_on(killed)) == weights(whole)


def test_the_same_command_goes_on_with_an_unfinished_run(tmp_path: Path) -> None:
    whole = run(tmp_path, "whole", save=1)
    killed = killed_after(whole.run, tmp_path, 600)
    assert weights(run(tmp_path, killed.name, save=1)) == weights(whole)


def test_the_same_name_with_another_experiment_is_refused_with_what_differs(tmp_path: Path) -> None:
    from trainctl import TrainctlError

    whole = run(tmp_path, "whole", save=1)
    killed = killed_after(whole.run, tmp_path, 600)
    with pytest.raises(TrainctlError, match="num_steps") as error:
        run(tmp_path, killed.name, save=1, num_steps=100)
    assert error.value.exit_code == 4  # type: ignore[attr-defined]


def test_the_resume_needs_no_experiment_but_its_own_copy(tmp_path: Path) -> None:
    whole = run(tmp_path, "whole", save=1)
    killed = killed_after(whole.run, tmp_path, 400)
    (tmp_path / "small.py").unlink()
    assert weights(go_on(killed)) == weights(whole)


@pytest.mark.parametrize(
    ("encoding", "first_line"), [("utf-8-sig", ""), ("latin-1", "# coding: latin-1\n")], ids=["with a mark", "latin-1"]
)
def test_an_experiment_may_be_in_any_encoding_that_python_reads(encoding: str, first_line: str, tmp_path: Path) -> None:
    text = f'{first_line}"""Fährt."""\n{EXPERIMENT}'
    (tmp_path / "small.py").write_text(text, encoding)
    whole = run(tmp_path, "whole", save=1)
    assert RunDirectory(whole.run).sources() == {"small.py": text}
    assert weights(go_on(killed_after(whole.run, tmp_path, 1000))) == weights(whole)
