"""What a sweep varies: "learning_rate=1e-5..1e-2:log", "num_steps=64..256:64", "num_envs=8,16"."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from ...errors import ExperimentError, UsageError, did_you_mean
from ...experiment_file import LoadedExperiment, load_experiment

HOW = "write e.g. learning_rate=1e-5..1e-2:log, num_steps=64..256:64 or num_envs=8,16"


class Suggests(Protocol):
    """An `optuna.trial.Trial`: proposes values, and gives those it has proposed again."""

    def suggest_int(self, name: str, low: int, high: int, *, step: int = 1, log: bool = False) -> int:
        """A whole number."""

    def suggest_float(
        self, name: str, low: float, high: float, *, step: float | None = None, log: bool = False
    ) -> float:
        """A number."""

    def suggest_categorical(self, name: str, choices: Sequence[Any]) -> Any:
        """One of these."""


@dataclass(frozen=True)
class Range:
    """All values from low to high, both included; spread evenly over the logarithm with `log`, else in steps of `step`
    (0: any value, or for whole numbers each)."""

    name: str
    text: str
    low: float
    high: float
    log: bool = False
    step: float = 0.0
    whole: bool = False

    @property
    def ends(self) -> list[str]:
        """The texts to try the experiment with."""
        return self.text.partition(":")[0].split("..")

    def suggest(self, trial: Suggests) -> str:
        """The text for `--set` of this trial."""
        if self.whole:
            low, high = int(self.low), int(self.high)
            return self.written(trial.suggest_int(self.name, low, high, log=self.log, step=int(self.step) or 1))
        return self.written(trial.suggest_float(self.name, self.low, self.high, log=self.log, step=self.step or None))

    def written(self, value: float) -> str:
        """The text for a value: of any other than a whole number four digits, and never outside the range."""
        return str(value) if self.whole else repr(min(max(float(f"{value:.4g}"), self.low), self.high))


@dataclass(frozen=True)
class Choice:
    """One of some values, each as `--set` reads it."""

    name: str
    text: str
    values: tuple[str, ...]

    @property
    def ends(self) -> list[str]:
        """The texts to try the experiment with."""
        return list(self.values)

    def suggest(self, trial: Suggests) -> str:
        """The text for `--set` of this trial."""
        return self.written(trial.suggest_categorical(self.name, self.values))

    def written(self, value: str) -> str:
        """The text for a value."""
        return value


Varied = Range | Choice


def space_of(texts: Iterable[str], experiment: Path, settings: dict[str, str]) -> tuple[list[Varied], LoadedExperiment]:
    """What is varied, and the experiment as its file and `settings` (those of `--set`) have it.

    The experiment is called with the ends of each range and with each choice, so that what it refuses is known before
    anything trains. Raises `UsageError` for a range that makes no sense and `ExperimentError` for values that the
    experiment does not take.
    """
    space = [parse(text) for text in texts]
    loaded = load_experiment(experiment, settings)
    for one in space:
        _check_name(one, loaded, settings, [other.name for other in space])
    return [_checked(one, experiment, settings) for one in space], loaded


def parse(text: str) -> Varied:
    """One range or choice. Raises `UsageError` if it is none."""
    name, equals, values = (part.strip() for part in text.partition("="))
    if not (name.isidentifier() and equals and values):
        raise UsageError(f"{text} is neither a range nor a choice", HOW)
    return _range(name, values) if ".." in values else Choice(name, values, _choices(name, values))


def _range(name: str, text: str) -> Range:
    ends, _, how = text.partition(":")
    try:
        low, high = (float(end) for end in ends.split(".."))
        step = float(how) if how not in ("", "log") else 0.0
    except ValueError:
        raise UsageError(f"{name}={text} is no range: LOW..HIGH, LOW..HIGH:log or LOW..HIGH:STEP", HOW) from None
    for complaint in _complaints(low, high, how, step):
        raise UsageError(f"{name}={text}: {complaint}", HOW)
    return Range(name, text, low, high, how == "log", step)


def _complaints(low: float, high: float, how: str, step: float) -> Iterator[str]:
    if not (math.isfinite(low) and math.isfinite(high)):
        yield "the ends of a range must be finite"
    if low >= high:
        yield f"the low end {low:g} must be below the high end {high:g}"
    if how == "log" and low <= 0:
        yield f"a logarithmic range must begin above 0, not at {low:g}"
    if how not in ("", "log") and not 0 < step <= high - low:
        yield f"the step {step:g} must be above 0 and at most {high - low:g}, the width of the range"
    elif step and abs((high - low) / step - round((high - low) / step)) > 1e-6:
        yield f"steps of {step:g} do not lead from {low:g} to {high:g}"


def _choices(name: str, text: str) -> tuple[str, ...]:
    """The values between the commas that stand in no bracket."""
    values = [value.strip() for value in re.split(r",(?![^(\[]*[)\]])", text)]
    if len(set(values)) < len(values) or not all(values):
        raise UsageError(f"{name}={text}: an empty value, or one that stands there twice", HOW)
    if len(values) < 2:
        raise UsageError(f"{name}={text} leaves nothing to choose from", f"{HOW}; fix a value with --set {name}={text}")
    return tuple(values)


def _check_name(one: Varied, loaded: LoadedExperiment, settings: dict[str, str], names: list[str]) -> None:
    if one.name not in loaded.parameters:
        found = f"{one.name}={one.text}: experiment has no parameter {one.name!r}"
        raise UsageError(found, did_you_mean(one.name, loaded.parameters))
    if one.name in settings or names.count(one.name) > 1:
        raise UsageError(f"{one.name} is given twice", "name each parameter once: as a range, a choice or with --set")


def _checked(one: Varied, experiment: Path, settings: dict[str, str]) -> Varied:
    """The same, and for a range whether it is of whole numbers."""
    try:
        values = [load_experiment(experiment, {**settings, one.name: end}).parameters[one.name] for end in one.ends]
    except ExperimentError as error:
        raise error.within(f"{one.name}={one.text}") from error.__cause__
    if isinstance(one, Choice):
        return one
    if any(isinstance(value, bool) or not isinstance(value, (int, float)) for value in values):
        raise UsageError(f"{one.name}={one.text}: {one.name} is no number", f"name its values: {one.name}=A,B")
    whole = all(isinstance(value, int) for value in values)
    if whole and one.step != int(one.step):
        raise UsageError(f"{one.name}={one.text}: {one.name} is whole, so its step must be", HOW)
    return Range(one.name, one.text, one.low, one.high, one.log, one.step, whole)
