"""Validation: the same few episodes, played again and again while a training goes on."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from . import checks
from .errors import Fault, Location, refuse, where
from .settings import number_fault


@dataclass(frozen=True, eq=False)
class Validation:
    """Which episodes the model plays, with its most probable actions, to see how good it has become.

    The means go to TensorBoard, `metrics.jsonl` and the console as `valid/return`, `valid/length`, `valid/<metric>`;
    an early-stopping criterion is shown them once, with the first interval that begins at that step or later. They are
    played beside the training, of which no bit is moved. With each validation a checkpoint is written (unless the stage
    saves none), and the best one is kept: RUN@best.

    * environment: as that of an Experiment; None: that of the current stage.
    * episodes: how many, ≥ 1. seed: of these episodes, ≥ 0; they are the same each time.
    * every: after at least so many steps, ≥ 1; None: whenever the stage's `save_interval` is over. And always at a
      stage's end.
    * metric: what the best checkpoint has most of, e.g. "return", "success". lower_is_better: or least of.

    Raises `ExperimentError` for values out of these ranges.
    """

    environment: Any = None
    episodes: int = 20
    every: int | None = None
    seed: int = 0
    metric: str = "return"
    lower_is_better: bool = False
    location: Location | None = field(default=None, init=False, repr=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "location", where())
        refuse(self.faults())

    def faults(self) -> list[Fault]:
        """Everything that is wrong with this declaration."""
        complaints = {
            "environment": checks.environment_complaints(self.environment) if self.environment is not None else (),
            "episodes": checks.whole_number_complaints("episodes", self.episodes),
            "every": checks.whole_number_complaints("every", self.every) if self.every is not None else (),
            "seed": _seed_complaints(self.seed),
            "metric": _metric_complaints(self.metric),
            "lower_is_better": checks.switch_complaints("lower_is_better", self.lower_is_better),
        }
        return [self.fault(argument, *what) for argument, texts in complaints.items() for what in texts]

    def fault(self, argument: str, message: str, hint: str = "") -> Fault:
        """A fault of this declaration, located where it is given `argument`."""
        return Fault(message, self.location.of_argument(argument) if self.location else None, hint)


def _seed_complaints(seed: Any) -> Iterator[tuple[str, str]]:
    if text := number_fault("seed", seed, True, 0, math.inf, True):
        yield text, ""


def _metric_complaints(metric: Any) -> Iterator[tuple[str, str]]:
    if not isinstance(metric, str) or not metric or "/" in metric:
        yield f"metric must be the name of an episode's metric, not {metric!r}", 'write e.g. "return" or "success"'
