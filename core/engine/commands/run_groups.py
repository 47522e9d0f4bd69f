"""Runs beside each other: those that differ in their seed alone are a group; groups are compared at equal steps."""

from __future__ import annotations

import difflib
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ...errors import UsageError, did_you_mean
from ..reporting.metrics_file import read_packages
from ..saving.changes import Change, changes
from ..saving.run_directory import RunDirectory
from .run_statistics import Spread, spread


@dataclass(frozen=True)
class Run:
    """One run: what it was made of, and the curve of each metric, as (total steps, mean) in order."""

    path: Path
    record: dict[str, Any]
    description: dict[str, Any]
    curves: dict[str, list[tuple[int, float]]]

    @classmethod
    def read(cls, path: Path) -> Run:
        """Raises `CheckpointError` if there is no run, or it is damaged."""
        directory = RunDirectory.of_checkpoint(path)
        curves: dict[str, list[tuple[int, float]]] = {}
        for package in read_packages(directory.metrics):
            for tag, mean in package.means.items():
                if math.isfinite(mean):
                    curves.setdefault(tag, []).append((package.total_steps, mean))
        return cls(directory.path, directory.read_run(), directory.read_json(directory.pipeline), curves)

    @property
    def label(self) -> str:
        """The experiment and what was set of it."""
        settings = [f"{name}={value}" for name, value in sorted(self.record.get("settings", {}).items())]
        return " ".join([Path(self.record["experiment"]).stem, *settings])

    def sources(self) -> dict[str, list[str]]:
        """File name -> lines of the experiment as it ran."""
        return {name: text.splitlines() for name, text in RunDirectory(self.path).sources().items()}


@dataclass(frozen=True)
class Group:
    """Runs of the same experiment with the same settings."""

    label: str
    runs: list[Run]

    def at(self, metric: str, step: int) -> Spread | None:
        """A metric in the last interval that was closed by this step, over the runs that have one."""
        values = [value for run in self.runs if (value := value_at(run.curves.get(metric, []), step)) is not None]
        return spread(values) if values else None


def read_groups(paths: Sequence[Path], metric: str) -> list[Group]:
    """The runs at these paths, grouped. Raises `UsageError` for a metric that none of them has."""
    runs = [Run.read(path) for path in dict.fromkeys(path.resolve() for path in paths)]
    known = {tag for run in runs for tag in run.curves}
    if metric not in known:
        raise UsageError(f"none of these runs has the metric {metric!r}", did_you_mean(metric, sorted(known)))
    groups: dict[str, list[list[Run]]] = {}
    for run in runs:
        alike = groups.setdefault(run.label, [])
        for group in alike:
            if _is_same(group[0], run):
                group.append(run)
                break
        else:
            alike.append([run])
    return [Group(_distinct(label, alike, members), members) for label, alike in groups.items() for members in alike]


def value_at(curve: Sequence[tuple[int, float]], step: int) -> float | None:
    """The last value at or before this step, if there is one."""
    return next((value for at, value in reversed(curve) if at <= step), None)


def final_values(group: Group, metric: str, last: int) -> list[float]:
    """Of each run that has the metric the mean of its last so many values."""
    curves = [[value for _, value in run.curves[metric][-last:]] for run in group.runs if run.curves.get(metric)]
    return [sum(values) / len(values) for values in curves]


def equal_steps(groups: Sequence[Group], metric: str, points: int) -> list[int]:
    """Steps, evenly apart, that every run with the metric has reached; the last one is the farthest of these."""
    reached = min(run.curves[metric][-1][0] for group in groups for run in group.runs if run.curves.get(metric))
    return sorted({reached * number // points for number in range(1, points + 1)})


def common_steps(group: Group, metric: str, points: int) -> list[int]:
    """Steps at which runs of the group closed an interval and that all of them have reached; at most so many."""
    curves = [curve for run in group.runs if (curve := run.curves.get(metric))]
    reached = min((curve[-1][0] for curve in curves), default=0)
    found = sorted({step for curve in curves for step, _ in curve if step <= reached})
    every = -(-len(found) // points) or 1
    return found[::-every][::-1]


def setting_changes(one: Group, other: Group) -> list[Change]:
    """What differs in the settings in force."""
    return list(changes(one.runs[0].description, other.runs[0].description))


def code_changes(one: Group, other: Group) -> list[str]:
    """A unified diff of the experiments as they ran; no lines if they are the same."""
    return list(_diff(one.runs[0], other.runs[0]))


def _diff(one: Run, other: Run) -> Iterator[str]:
    before, now = one.sources(), other.sources()
    for name in sorted({*before, *now}):
        paths = f"{one.path.name}/experiment/{name}", f"{other.path.name}/experiment/{name}"
        yield from difflib.unified_diff(before.get(name, []), now.get(name, []), *paths, lineterm="")


def _is_same(one: Run, other: Run) -> bool:
    return not any(changes(one.description, other.description)) and one.sources() == other.sources()


def _distinct(label: str, alike: Sequence[Sequence[Run]], members: Sequence[Run]) -> str:
    """The label, with the name of a run where another group is called alike."""
    return label if len(alike) == 1 else f"{label} ({members[0].path.name})"
