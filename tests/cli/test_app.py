from __future__ import annotations

import os
import subprocess
import sys
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


PRINT_SPINS = """
import os, sys
from trainctl.cli.app import main
too_late = "torch" in sys.modules
try:
    main(["--version"])
except SystemExit:
    print(too_late, os.environ.get("GOMP_SPINCOUNT"))
"""


@pytest.mark.parametrize(
    ("own", "expected"),
    [({}, "1000"), ({"GOMP_SPINCOUNT": "7"}, "7"), ({"OMP_WAIT_POLICY": "active"}, "None")],
    ids=["nothing", "a number", "a policy"],
)
def test_threads_do_not_wait_awake_for_long_unless_the_user_says_so(own: dict[str, str], expected: str) -> None:
    environment = {
        name: value for name, value in os.environ.items() if name not in ("GOMP_SPINCOUNT", "OMP_WAIT_POLICY")
    }
    command = [sys.executable, "-c", PRINT_SPINS]
    done = subprocess.run(command, capture_output=True, text=True, env={**environment, **own}, check=True)
    assert done.stdout.splitlines()[-1] == f"False {expected}"
