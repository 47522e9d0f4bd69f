"""Errors: what they say, where they point, and how they are collected."""

from __future__ import annotations

from dataclasses import make_dataclass
from pathlib import Path

import pytest
import torch

from trainctl import ExperimentError, LinearDecay, TrainctlError
from trainctl.core import errors
from trainctl.core.errors import Fault, Location, collect_faults, did_you_mean, refuse, refuse_arguments, shown, where


def test_each_kind_of_error_has_the_exit_code_of_the_contract() -> None:
    codes = {
        name: kind.exit_code
        for name, kind in vars(errors).items()
        if isinstance(kind, type) and issubclass(kind, TrainctlError)
    }
    assert codes == {
        "TrainctlError": 1,
        "UsageError": 2,
        "ExperimentError": 2,
        "CheckpointError": 3,
        "ExperimentChangedError": 4,
        "RunInUseError": 5,
        "NonFiniteError": 6,
        "WorkerLostError": 1,
        "EnvironmentFailure": 7,
    }


def test_an_error_shows_its_hint_on_a_line_of_its_own() -> None:
    assert str(TrainctlError("the disk is full", "free 3 MB")) == "the disk is full\n  free 3 MB"
    assert str(TrainctlError("the disk is full")) == "the disk is full"


def test_a_fault_shows_what_where_and_what_to_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "exp.py"
    file.write_text("first = 1\n    second = 2   \n")
    monkeypatch.chdir(tmp_path)
    assert str(Fault("no", Location(str(file), 2), "write 3")) == "no\n  --> exp.py:2   second = 2\n  write 3"
    assert str(Fault("no", Location(str(file)))) == "no\n  --> exp.py"
    assert str(Fault("no", Location(str(file), 99))) == "no\n  --> exp.py:99"
    assert str(Fault("no")) == "no"


def test_a_file_outside_the_current_directory_keeps_its_whole_path(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    assert str(Location(str(tmp_path / "exp.py"), 3)) == f"{tmp_path}/exp.py:3"


def test_an_experiment_error_lists_every_fault() -> None:
    error = ExperimentError([Fault("one"), Fault("two", hint="mend it")])
    assert str(error) == "one\ntwo\n  mend it"
    assert len(error.faults) == 2


def test_an_experiment_error_from_a_text_points_at_the_line_that_raised_it() -> None:
    fault = ExperimentError("no", "do this").faults[0]  # this line
    assert (fault.message, fault.hint) == ("no", "do this")
    assert fault.location is not None
    assert fault.location.source.endswith("# this line")


def test_refusing_nothing_does_nothing() -> None:
    refuse([])
    refuse_arguments("PPO", clip_range=None)


def test_faults_are_collected_within_the_context_and_raised_after_it() -> None:
    with collect_faults() as faults:
        refuse([Fault("one")])
        LinearDecay(-1)
        with collect_faults() as inner:
            refuse([Fault("inner")])
        refuse([Fault("three")])
    assert [fault.message.split()[0] for fault in faults] == ["one", "steps", "three"]
    assert [fault.message for fault in inner] == ["inner"]
    with pytest.raises(ExperimentError, match="four"):
        refuse([Fault("four")])


def test_collecting_ends_when_the_context_is_left_by_an_exception() -> None:
    with pytest.raises(ZeroDivisionError), collect_faults():
        raise ZeroDivisionError
    with pytest.raises(ExperimentError):
        refuse([Fault("five")])


# Where


def test_where_skips_what_python_itself_runs() -> None:
    declaration = make_dataclass("Declaration", [], namespace={"__post_init__": lambda self: found.append(where())})
    found: list[Location | None] = []
    declaration()
    assert found[0] is not None
    assert found[0].file == __file__


def test_where_skips_what_is_installed() -> None:
    found = torch.no_grad()(where)()  # the decorator's frame lies between
    assert found is not None
    assert found.file == __file__


def test_an_argument_is_found_on_its_own_line_in_the_call_that_begins_on_the_line(tmp_path: Path) -> None:
    file = tmp_path / "exp.py"
    file.write_text("one(\n    a=1,\n    b=[\n        two(\n            a=2)\n    ],\n)\nx = three(a=3)\n")
    assert Location(str(file), 1).of_argument("a").line == 2
    assert Location(str(file), 1).of_argument("b").line == 3
    assert Location(str(file), 4).of_argument("a").line == 5
    assert Location(str(file), 4).of_argument("b").line == 4  # not given there: the call itself
    assert Location(str(file), 8).of_argument("a").line == 8


def test_a_location_in_a_file_that_cannot_be_parsed_or_read_stays_what_it_is(tmp_path: Path) -> None:
    (tmp_path / "exp.py").write_text("def (")
    for name in ("exp.py", "gone.py"):
        location = Location(str(tmp_path / name), 1)
        assert location.of_argument("a") == location


# Words


def test_the_nearest_word_is_named() -> None:
    assert did_you_mean("ppo_los", ["ppo_loss", "imitation"]) == (
        "known: 'ppo_loss', 'imitation' (did you mean 'ppo_loss'?)"
    )
    assert did_you_mean("zzz", ["ppo"]) == "known: 'ppo'"
    assert did_you_mean("ppo", []) == "known: none"


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (3, "3"),
        ("a", "'a'"),
        (LinearDecay, "the class LinearDecay"),
        (did_you_mean, "the function did_you_mean"),
        (object(), "an object of the class object"),
        ("x" * 200, "'" + "x" * 79 + "…"),
    ],
)
def test_a_value_is_shown_short_and_without_addresses(value: object, text: str) -> None:
    assert shown(value) == text
