"""Changes: what differs between the experiment that wrote a checkpoint and the one at hand, and what that means."""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from torch import Tensor

from ...errors import ExperimentChangedError

HARMLESS = "harmless"
CHANGES_TRAINING = "changes training"
IMPOSSIBLE = "impossible"

# Settings that decide what is written and shown, not what is learned.
_HARMLESS_NAMES = {"save_interval", "metric_accumulate_interval", "should_log", "own_settings"}

# What a checkpoint holds of the part on the right belongs to what is described on the left.
_BEGUN_ANEW = {
    "environment": ("collector", "rewards"),
    "num_envs": ("collector", "rewards"),
    "normalize_rewards": ("rewards",),
    "stages[{stage}].environment": ("collector", "rewards"),
    "stages[{stage}].early_stopping_criterion": ("early_stopping",),
    "stages[{stage}].offpolicy_component": ("off_policy",),
}


class Change(NamedTuple):
    """One entry of the description that differs; `before` or `now` is None where it is missing."""

    key: str
    before: Any
    now: Any
    is_impossible: bool = False

    @property
    def kind(self) -> str:
        """ "harmless" if not one bit of the weights depends on it; "impossible" if nothing can go on with it."""
        if self.is_impossible:
            return IMPOSSIBLE
        if self.concerns("validation"):
            return HARMLESS
        name = self.key.rsplit(".", 1)[-1].split("[")[0]
        return HARMLESS if name in _HARMLESS_NAMES else CHANGES_TRAINING

    def concerns(self, *keys: str) -> bool:
        """Whether it is a change of one of these entries or of something in them."""
        return any(self.key == key or self.key.startswith((f"{key}.", f"{key}[")) for key in keys)


def changes(before: Any, now: Any, key: str = "") -> Iterator[Change]:
    """Every leaf that differs between two descriptions (see `description.describe`)."""
    if isinstance(before, dict) and isinstance(now, dict):
        for name in dict.fromkeys([*before, *now]):
            yield from changes(before.get(name), now.get(name), f"{key}.{name}" if key else str(name))
    elif isinstance(before, list) and isinstance(now, list) and len(before) == len(now):
        for index, (one, other) in enumerate(zip(before, now, strict=True)):
            yield from changes(one, other, f"{key}[{index}]")
    elif before != now:
        yield Change(key, before, now)


def shape_changes(before: Mapping[str, Tensor], now: Mapping[str, Tensor]) -> Iterator[Change]:
    """Every tensor of two models that is missing in one or has another shape there."""
    for name in dict.fromkeys([*before, *now]):
        one, other = (tuple(model[name].shape) if name in model else None for model in (before, now))
        if one != other:
            yield Change(f"the model's {name}", one, other, is_impossible=True)


def stage_changes(before: Mapping[str, Any], now: Mapping[str, Any], stage_index: int) -> Iterator[Change]:
    """Whether the stage that the checkpoint is in has another place, or none, in the present list of stages."""
    then, there = ([stage["name"] for stage in description["stages"]] for description in (before, now))
    if then[stage_index] not in there[stage_index : stage_index + 1]:
        found = there[stage_index] if stage_index < len(there) else None
        yield Change(f"stages[{stage_index}].name", then[stage_index], found, is_impossible=True)


def parts_begun_anew(found: Iterable[Change], stage_index: int) -> list[str]:
    """The parts of a checkpoint that are of no use after these changes: they begin anew."""
    parts: list[str] = []
    for change in found:
        for name, affected in _BEGUN_ANEW.items():
            if change.concerns(name.format(stage=stage_index)):
                parts += affected
    return sorted(set(parts))


def budget_of(description: Mapping[str, Any], stage_index: int) -> Any:
    """What a description says of a stage's budget; None if it has no such stage."""
    stages = description["stages"]
    return stages[stage_index]["max_stage_steps"] if stage_index < len(stages) else None


def refuse_changes(found: Iterable[Change], ways_on: str, allowed: bool = False) -> None:
    """Raise ExperimentChangedError with a table if a change is more than harmless; `ways_on`: commands to type.

    allowed: only what is impossible is refused.
    """
    found = list(found)
    refused = (IMPOSSIBLE,) if allowed else (IMPOSSIBLE, CHANGES_TRAINING)
    if any(change.kind in refused for change in found):
        text = "\n".join(["the experiment has changed since this run began", *table(found)])
        raise ExperimentChangedError(text, ways_on)


def ways_on(path: Path, experiment: Path, settings: Mapping[str, str], seed: int, options: Sequence[str] = ()) -> str:
    """What can be typed instead, if an experiment with these settings is not the one of a run or checkpoint.

    options: others that `trainctl run` was given.
    """
    again = [
        "trainctl",
        "run",
        str(experiment),
        *(word for key in settings for word in ("--set", f"{key}={settings[key]}")),
    ]
    again += [*(["--seed", str(seed)] if seed else []), *options]
    return (
        f"go on with the experiment as it was:  {shlex.join(['trainctl', 'resume', '--checkpoint', str(path)])}\n"
        f"  start a new run from these weights:   {shlex.join([*again, '--init-from', str(path)])}"
    )


def table(found: Iterable[Change]) -> list[str]:
    """One line for each change: what it is, what it was, what it is now, and what that means."""
    rows = [("key", "checkpoint", "now", ""), *((c.key, _short(c.before), _short(c.now), c.kind) for c in found)]
    widths = [max(len(row[column]) for row in rows) for column in range(3)]
    return [
        "  " + "  ".join(cell.ljust(width) for cell, width in zip(row, [*widths, 0], strict=True)).rstrip()
        for row in rows
    ]


def _short(value: Any) -> str:
    text = str(value)
    return text if len(text) <= 40 else f"{text[:37]}..."
