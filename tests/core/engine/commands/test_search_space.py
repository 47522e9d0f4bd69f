from __future__ import annotations

from pathlib import Path

import pytest

from trainctl import ExperimentError, TrainctlError
from trainctl.core.engine.commands.search_space import Choice, Range, parse, space_of

TINY = Path(__file__).parents[3] / "cli" / "experiments" / "tiny.py"


class LowEnd:
    """Proposes the low end, or the first choice, and remembers how it was asked."""

    def suggest_int(self, name, low, high, *, step=1, log=False):
        self.asked = ("int", low, high, step, log)
        return low

    def suggest_float(self, name, low, high, *, step=None, log=False):
        self.asked = ("float", low, high, step, log)
        return low

    def suggest_categorical(self, name, choices):
        self.asked = tuple(choices)
        return choices[0]


@pytest.mark.parametrize(
    ("text", "asked", "proposed"),
    [
        ("learning_rate=1e-5..1e-2:log", ("float", 1e-5, 1e-2, None, True), "1e-05"),
        ("pause=0..0.5", ("float", 0.0, 0.5, None, False), "0.0"),
        ("pause=0..1:0.25", ("float", 0.0, 1.0, 0.25, False), "0.0"),
        ("steps=32..96:32", ("int", 32, 96, 32, False), "32"),
        ("steps=32..96:log", ("int", 32, 96, 1, True), "32"),
        ("save_interval=32,none", ("32", "none"), "32"),
        ("prints=true,false", ("true", "false"), "true"),
    ],
)
def test_ranges_and_choices_take_the_type_of_the_parameter(text: str, asked: object, proposed: str) -> None:
    trial = LowEnd()
    ((one,), _) = space_of([text], TINY, {})
    assert one.suggest(trial) == proposed
    assert trial.asked == asked


def test_a_value_has_four_digits_and_stays_in_its_range() -> None:
    rate = parse("learning_rate=1.23456e-5..1e-2:log")
    assert isinstance(rate, Range)
    assert [rate.written(value) for value in (0.00123456, 1.2341e-5)] == ["0.001235", "1.23456e-05"]


def test_values_in_brackets_are_one_choice() -> None:
    assert parse("sizes=(64,64),[32, 32],8") == Choice("sizes", "(64,64),[32, 32],8", ("(64,64)", "[32, 32]", "8"))


@pytest.mark.parametrize(
    ("texts", "complaint"),
    [
        (["learning_rate"], "is neither a range nor a choice"),
        (["learning_rate="], "is neither a range nor a choice"),
        (["learning_rate=1e-2..1e-5"], "the low end 0.01 must be below the high end 1e-05"),
        (["learning_rate=1..1"], "must be below"),
        (["learning_rate=0..1:log"], "must begin above 0, not at 0"),
        (["learning_rate=-1..1:log"], "must begin above 0, not at -1"),
        (["learning_rate=nan..1"], "must be finite"),
        (["learning_rate=1e-5..1e-2:logg"], "LOW..HIGH:log or LOW..HIGH:STEP"),
        (["learning_rate=1..2..3"], "is no range"),
        (["steps=32..96:0"], "the step 0 must be above 0"),
        (["steps=32..96:100"], "at most 64, the width of the range"),
        (["steps=32..96:30"], "steps of 30 do not lead from 32 to 96"),
        (["steps=32..96:0.5"], "steps is whole, so its step must be"),
        (["prints=0..1"], "prints is no number"),
        (["steps=32"], "leaves nothing to choose from"),
        (["steps=32,32"], "twice"),
        (["steps=32,"], "an empty value"),
        (["lerning_rate=1e-5..1e-2"], "did you mean 'learning_rate'"),
        (["steps=32,64", "steps=64..96"], "steps is given twice"),
        (["steps=32.5..96"], "takes int"),
        (["steps=32,many"], "takes int"),
    ],
)
def test_what_makes_no_sense_is_refused_before_anything_trains(texts: list[str], complaint: str) -> None:
    with pytest.raises(TrainctlError) as refused:
        space_of(texts, TINY, {})
    assert complaint in str(refused.value)


def test_values_that_the_experiment_refuses_name_the_range() -> None:
    with pytest.raises(ExperimentError, match=r"steps=0\.\.64") as refused:
        space_of(["steps=0..64"], TINY, {})
    assert "max_stage_steps" in str(refused.value)


def test_a_parameter_is_fixed_or_varied() -> None:
    with pytest.raises(TrainctlError, match="steps is given twice"):
        space_of(["steps=32,64"], TINY, {"steps": "32"})
