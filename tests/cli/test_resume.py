from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest

from tests.cli.conftest import TINY, Trainctl
from tests.cli.test_run import files_of
from trainctl.cli.training import train
from trainctl.core.engine.options import Outcome
from trainctl.core.engine.workers.workers import ONE_PROCESS
from trainctl.core.errors import EnvironmentFailure, NonFiniteError, WorkerLostError


def test_a_finished_run_has_nothing_to_resume(trainctl: Trainctl, finished: Path) -> None:
    weights = files_of(finished / "checkpoints")
    said = trainctl("resume", "--checkpoint", "runs/first")
    assert said.code == 0
    assert said.err.splitlines()[0] == "runs/first is finished: 128 steps. Nothing to resume."
    assert files_of(finished / "checkpoints") == weights


def test_a_failed_run_goes_on_from_its_last_checkpoint(trainctl: Trainctl) -> None:
    assert trainctl("run", TINY, "--name", "first", "--set", "breaks_at=64", "--quiet").code == 1
    said = trainctl("resume", "runs/first")
    assert "runs/first: resuming from step-000000000032, guarantee: bit-exact" in said.err


def test_a_run_and_one_of_its_checkpoints_are_both_accepted(trainctl: Trainctl, finished: Path) -> None:
    shutil.rmtree(finished / "checkpoints" / "step-000000000128")
    from_run = trainctl("resume", "--checkpoint", "runs/first", "--json").document
    shutil.rmtree(finished / "checkpoints" / "step-000000000128")
    from_checkpoint = trainctl("resume", "runs/first/checkpoints/step-000000000064", "--json").document
    assert from_run == from_checkpoint
    assert from_run["total_steps"] == 128


@pytest.mark.parametrize(
    ("words", "code", "expected"),
    [
        ([], 2, "resume needs one run or checkpoint; none was given"),
        (["runs/first", "--checkpoint", "runs/first"], 2, "two were given"),
        (["--checkpoint", "runs/frist"], 3, "did you mean 'runs/first'?"),
        (
            ["--checkpoint", "runs/first/checkpoints/step-000000000001"],
            3,
            "there is no checkpoint runs/first/checkpoints/step-000000000001\n  of the 4 in runs/first/checkpoints the "
            "nearest are: step-000000000032, step-000000000064, step-000000000096, step-000000000128",
        ),
        (["--checkpoint", "runs/first/logs"], 3, "there is no checkpoint runs/first/logs"),
    ],
)
def test_what_cannot_be_resumed(trainctl: Trainctl, finished: Path, words: list[str], code: int, expected: str) -> None:
    said = trainctl("resume", *words)
    assert (said.code, said.out) == (code, "")
    assert expected in said.err
    assert "Traceback" not in said.err


def test_a_damaged_checkpoint_is_named_and_the_one_before_it_used(trainctl: Trainctl, finished: Path) -> None:
    (finished / "checkpoints" / "step-000000000128" / "model.safetensors").write_bytes(b"not this")
    said = trainctl("resume", "runs/first", "--quiet", "--json")
    assert said.document["total_steps"] == 128
    assert "warning: step-000000000128 is damaged" in said.err


@pytest.mark.parametrize(
    ("error", "command"),
    [
        (NonFiniteError("nan"), "go on with       trainctl resume --checkpoint {} --set NAME=VALUE --allow-changes"),
        (EnvironmentFailure("it hangs"), "once mended      trainctl resume --checkpoint {} --experiment exp.py"),
        (WorkerLostError("it was killed"), "go on with       trainctl resume --checkpoint {}"),
    ],
)
def test_the_way_on_from_a_failure_is_one_that_does_not_only_repeat_it(
    error: Exception, command: str, tmp_path: Path
) -> None:
    def begin(display: Any, request: object) -> Outcome:
        display.directory = tmp_path
        raise error

    with pytest.raises(type(error)) as raised:
        train(begin, ONE_PROCESS, True, True, False, Path("exp.py"))
    assert raised.value.__notes__[-2:] == [
        "  last checkpoint  none, so it would begin anew",
        f"  {command.format(tmp_path)}",
    ]


def test_what_a_worker_proposes_goes_on_with_as_many_workers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def begin(display: Any, request: object) -> Outcome:
        display.directory = tmp_path
        raise EnvironmentFailure("it hangs")

    monkeypatch.setenv("LOCAL_WORLD_SIZE", "2")
    with pytest.raises(EnvironmentFailure) as raised:
        train(begin, ONE_PROCESS, True, True, False)
    assert raised.value.__notes__[-1] == (
        f"  once mended      trainctl resume --checkpoint {tmp_path} --nproc 2 --experiment FILE"
    )
