"""Checkpoints by what they are: RUN@best, RUN@best:METRIC, RUN@stage:NAME, RUN@step:N."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from ...errors import CheckpointError, UsageError, did_you_mean
from .checkpoint import checkpoint_name, list_checkpoints
from .checkpoint_manifest import MANIFEST
from .run_directory import RunDirectory

HELP = "RUN@best, RUN@best:METRIC, RUN@stage:NAME or RUN@step:N"


def choose(path: Path) -> Path:
    """The checkpoint that an address means; a path without an address, or one that exists as it is, is itself.

    * RUN@best: of those that were validated the one with the best of the validation's metric, or of METRIC.
    * RUN@stage:NAME: the last one written in that stage. RUN@step:N: the one at exactly so many steps.

    Raises `CheckpointError` if there is none, naming those that are there, and `UsageError` for another word.
    """
    run, at, address = str(path).rpartition("@")
    if not at or path.exists():
        return path
    folder = RunDirectory.of_checkpoint(Path(run)).checkpoints
    kind, _, name = address.partition(":")
    if kind == "best":
        return _best(folder, name or None)
    if kind == "stage" and name:
        return _of_stage(folder, name)
    if kind == "step" and name.replace("_", "").isdigit():
        return _at_step(folder, int(name))
    raise UsageError(f"{path} names no checkpoint: {address!r} is unknown", f"write {HELP}")


def best_of(folder: Path, metric: str | None = None) -> Path | None:
    """The checkpoint whose validation was best, the newest of several; None if none was validated by this metric."""
    validated = [(path, about["validation"]) for path, about in _abouts(folder) if "validation" in about]
    if not validated:
        return None
    ranked_by = metric or validated[-1][1]["metric"]
    sign = -1 if validated[-1][1]["lower_is_better"] and metric is None else 1
    found = [(sign * v["means"][tag], path) for path, v in validated if (tag := f"valid/{ranked_by}") in v["means"]]
    return max(found, key=lambda one: (one[0], one[1].name))[1] if found else None


def _best(folder: Path, metric: str | None) -> Path:
    path = best_of(folder, metric)
    if path is None:
        known = {
            tag.removeprefix("valid/")
            for _, about in _abouts(folder)
            for tag in about.get("validation", {}).get("means", {})
        }
        if known:
            raise CheckpointError(f"{folder.parent} was not validated by {metric!r}", did_you_mean(metric or "", known))
        hint = "give the Experiment validation=Validation(episodes=20) and train it"
        raise CheckpointError(f"{folder.parent} has no validated checkpoint, so there is no best one", hint)
    return path


def _of_stage(folder: Path, name: str) -> Path:
    by_stage = {about.get("stage"): path for path, about in _abouts(folder)}  # oldest first: the last one stays
    if name not in by_stage:
        hint = did_you_mean(name, [stage for stage in by_stage if isinstance(stage, str)])
        raise CheckpointError(f"{folder.parent} has no checkpoint of a stage {name!r}", hint)
    return by_stage[name]


def _at_step(folder: Path, step: int) -> Path:
    path = folder / checkpoint_name(step)
    if not path.is_dir():
        there = ", ".join(f"{int(one.name.removeprefix('step-')):_}" for one in list_checkpoints(folder))
        raise CheckpointError(f"{folder.parent} has no checkpoint at {step:,} steps", f"there are: {there or 'none'}")
    return path


def _abouts(folder: Path) -> list[tuple[Path, dict[str, Any]]]:
    """Each checkpoint, oldest first, with what was said about it when it was saved. Damaged ones are left out here."""
    found = []
    for path in list_checkpoints(folder):
        try:
            about = json.loads((path / MANIFEST).read_bytes())["about"]
        except (OSError, ValueError, KeyError, TypeError):
            continue
        if isinstance(about, dict):
            found.append((path, about))
    return found
