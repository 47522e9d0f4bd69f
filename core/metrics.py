"""Means of scalars over an interval, and the package in which a closed interval is reported."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, SupportsFloat


class ScalarMeanTracker:
    """Weighted means of named scalars.

    It keeps a sum and a count (the weight behind it) for each name, in the order in which the names first got a weight.
    So trackers of several workers can be added up, and give the mean over all they saw, not a mean of means. A name
    with no weight behind it has no mean: nothing is ever divided by zero.
    """

    def __init__(self) -> None:
        self._sums_and_counts: dict[str, tuple[float, float]] = {}

    def add_scalars(self, scalars: Mapping[str, SupportsFloat], n: float | Mapping[str, float] = 1) -> None:
        """Add scalars to track.

        * scalars: name -> value. A value that is not finite is taken in, and shows in the mean.
        * n: the weight of these values, ≥ 0, e.g. the number of steps a loss was averaged over; or name -> weight, for
          each of the scalars. A value with weight 0 changes nothing, whatever it is.

        Raises `ValueError` for a weight that is negative, not finite or missing and `TypeError` for a value that is no
        number; then nothing has been added.
        """
        weights = {name: _weight(name, n) for name in scalars}
        values = {name: _value(name, value) for name, value in scalars.items()}
        for name, weight in weights.items():
            if weight > 0:
                self._add(name, values[name] * weight, weight)

    def means(self) -> dict[str, float]:
        """The mean of each name; reading them changes nothing."""
        return {name: total / count for name, (total, count) in self._sums_and_counts.items()}

    def counts(self) -> dict[str, float]:
        """The weight behind each mean, e.g. how many episodes; always above 0."""
        return {name: count for name, (_, count) in self._sums_and_counts.items()}

    def pop_and_reset(self) -> dict[str, float]:
        """The mean of each name; afterwards the tracker is empty."""
        means = self.means()
        self._sums_and_counts.clear()
        return means

    def sums_and_counts(self) -> dict[str, list[float]]:
        """Name -> [sum of value × weight, sum of weights]: what another worker needs to add these means to its own."""
        return {name: list(pair) for name, pair in self._sums_and_counts.items()}

    def add_sums_and_counts(self, sums_and_counts: Mapping[str, Sequence[float]]) -> None:
        """Add what another tracker gave as `sums_and_counts`. A name whose count is 0 changes nothing."""
        weights = {name: _weight(name, count) for name, (_, count) in sums_and_counts.items()}
        for name, weight in weights.items():
            if weight > 0:
                self._add(name, float(sums_and_counts[name][0]), weight)

    def state_dict(self) -> dict[str, list[float]]:
        """Everything there is to save: `sums_and_counts`, which JSON can hold."""
        return self.sums_and_counts()

    def load_state_dict(self, state: Mapping[str, Sequence[float]]) -> None:
        """Be what `state_dict` saved; what was tracked before is gone."""
        self._sums_and_counts.clear()
        self.add_sums_and_counts(state)

    def __repr__(self) -> str:
        return f"ScalarMeanTracker({self.means()})"

    def _add(self, name: str, total: float, count: float) -> None:
        old_total, old_count = self._sums_and_counts.get(name, (0.0, 0.0))
        self._sums_and_counts[name] = (old_total + total, old_count + count)


@dataclass(frozen=True, kw_only=True)
class LoggingPackage:
    """Data package used for logging: one closed interval, as everything that reports it sees it.

    * kind: "train" or "valid".
    * stage: the name of the stage.
    * stage_index: its place in the pipeline, from 0.
    * total_steps: steps of the whole run when the interval closed, over all workers.
    * stage_steps: steps of the stage at that moment, over all workers.
    * means: tag -> mean over the interval and over all workers; tags like "episode/return" or "loss/ppo/value".
    * counts: tag -> the weight behind that mean.
    * wall_seconds: how long the interval took, in seconds.
    * should_log: False keeps it from the console and TensorBoard; `metrics.jsonl` gets it nevertheless.
    """

    kind: Literal["train", "valid"]
    stage: str
    stage_index: int
    total_steps: int
    stage_steps: int
    means: dict[str, float]
    counts: dict[str, float]
    wall_seconds: float
    should_log: bool = True

    def to_json(self) -> dict[str, Any]:
        """The package as JSON can hold it. JSON knows no NaN and no infinity: they become None."""
        return {
            "kind": self.kind,
            "stage": self.stage,
            "stage_index": self.stage_index,
            "total_steps": self.total_steps,
            "stage_steps": self.stage_steps,
            "wall_seconds": _finite_or_none(self.wall_seconds),
            "should_log": self.should_log,
            "means": {tag: _finite_or_none(mean) for tag, mean in self.means.items()},
            "counts": {tag: _finite_or_none(count) for tag, count in self.counts.items()},
        }

    @classmethod
    def from_json(cls, content: Mapping[str, Any]) -> LoggingPackage:
        """The package that `to_json` gave; None becomes NaN again. Raises `KeyError` or `TypeError` if it is none."""
        numbers = {
            name: {tag: _nan_for_none(value) for tag, value in content[name].items()} for name in ("means", "counts")
        }
        return cls(**{**content, **numbers, "wall_seconds": _nan_for_none(content["wall_seconds"])})


def _weight(name: str, n: float | Mapping[str, float]) -> float:
    if isinstance(n, Mapping):
        if name not in n:
            raise ValueError(f"n has no weight for the scalar {name!r}; it has weights for {list(n)}.")
        n = n[name]
    weight = _value(f"the weight of {name}", n)
    if not (math.isfinite(weight) and weight >= 0):
        raise ValueError(f"the weight n of the scalar {name!r} must be 0 or more and finite; found {n!r}.")
    return weight


def _value(name: str, value: SupportsFloat) -> float:
    try:
        return value.__float__()  # float(value) would read the text "3" too
    except (AttributeError, TypeError, ValueError, RuntimeError) as error:
        found = f"{value!r} ({type(value).__name__})"
        raise TypeError(f"a tracked scalar must be a single number; found {found} for {name!r}.") from error


def _finite_or_none(value: float) -> float | None:
    return float(value) if math.isfinite(value) else None


def _nan_for_none(value: float | None) -> float:
    return math.nan if value is None else value
