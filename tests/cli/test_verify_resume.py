from __future__ import annotations

from typing import Any

import pytest

from tests.cli.conftest import TINY, Trainctl
from trainctl.core.errors import UsageError


def test_the_document_says_that_it_is_exact_and_what_was_compared(trainctl: Trainctl) -> None:
    said = trainctl("verify-resume", TINY, "--steps", 256, "--at", "60%", "--json")
    assert said.code == 0, said.err
    document = said.document
    assert (document["bit_exact"], document["guarantee"], document["first_difference"]) == (True, "bit-exact", None)
    assert (document["likely_cause"], document["runs"]) == (None, None)
    (kill,) = document["kills"]
    assert (kill["at"], kill["step"]) == ("60%", 154)
    assert set(document["compared"]) == {"tensors", "values", "metrics", "checkpoints"}
    assert "run A: 256 steps, left alone" in said.err


def test_people_read_lines(trainctl: Trainctl) -> None:
    said = trainctl("verify-resume", TINY, "--steps", 256, "--at", "random,stage-end")
    assert said.code == 0, said.err
    assert said.out.startswith("bit-exact: 256 steps, killed ")
    assert "killed at         stage-end (128 steps), went on from step-000000000128" in said.out


def test_a_point_outside_is_refused(trainctl: Trainctl) -> None:
    said = trainctl("verify-resume", TINY, "--steps", 64, "--at", "64")
    assert said.code == 2
    assert "--at 64 is not within the 64 steps of the run" in said.err


def test_several_workers_are_asked_for_and_none_is_started_again(
    trainctl: Trainctl, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[Any] = []

    def nothing_proved(options: Any, *rest: Any) -> Any:
        asked.append(options)
        raise UsageError("not in this test")

    monkeypatch.setattr("trainctl.core.engine.commands.verify_resume.verify_resume", nothing_proved)
    assert trainctl("verify-resume", TINY, "--nproc", 2).code == 2
    (options,) = asked
    assert (options.fleet.nproc, options.fleet.max_restarts) == (2, 0)
