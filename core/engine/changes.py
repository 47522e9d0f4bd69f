"""Changes: what differs between the experiment that wrote a checkpoint and the one at hand."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

from ..errors import ExperimentChangedError

HARMLESS = "harmless"
CHANGES_TRAINING = "changes training"

# Settings that decide what is written and shown, not what is learned.
_HARMLESS_NAMES = {"save_interval", "metric_accumulate_interval", "should_log", "own_settings"}


class Change(NamedTuple):
    """One entry of the description that differs; `before` or `now` is None where it is missing."""

    key: str
    before: Any
    now: Any

    @property
    def kind(self) -> str:
        """ "harmless" if not one bit of the weights depends on it, else "changes training"."""
        name = self.key.rsplit(".", 1)[-1].split("[")[0]
        return HARMLESS if name in _HARMLESS_NAMES else CHANGES_TRAINING


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


def refuse_changes(before: Any, now: Any, ways_on: str) -> None:
    """Raise ExperimentChangedError with a table if a difference changes the training; `ways_on`: commands to type."""
    found = list(changes(before, now))
    if all(change.kind == HARMLESS for change in found):
        return
    rows = [("key", "checkpoint", "now", ""), *((c.key, _short(c.before), _short(c.now), c.kind) for c in found)]
    widths = [max(len(row[column]) for row in rows) for column in range(3)]
    table = ["  " + "  ".join(cell.ljust(width) for cell, width in zip(row, [*widths, 0], strict=True)) for row in rows]
    raise ExperimentChangedError("\n".join(["the experiment has changed since this run began", *table]), ways_on)


def _short(value: Any) -> str:
    text = str(value)
    return text if len(text) <= 40 else f"{text[:37]}..."
