from __future__ import annotations

from importlib.metadata import version

import pytest

from tests.cli.conftest import Trainctl


def test_the_version_needs_no_command(trainctl: Trainctl) -> None:
    said = trainctl("--version")
    assert (said.code, said.out, said.err) == (0, f"trainctl {version('trainctl')}\n", "")


@pytest.mark.parametrize("words", [[], ["-h"], ["--help"]])
def test_who_types_nothing_is_told_what_there_is(words: list[str], trainctl: Trainctl) -> None:
    said = trainctl(*words)
    text = said.out + said.err
    for word in ("trainctl examples cp cartpole_ppo", "  resume ", "  inspect-pipeline ", "Exit codes:"):
        assert word in text


def test_a_command_that_is_none_is_refused(trainctl: Trainctl) -> None:
    said = trainctl("trian")
    assert said.code == 2
    assert "No such command 'trian'" in said.err
