"""TrainingSettings: how to train, for a whole pipeline or for one of its stages."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, field, fields
from typing import Any

from .errors import Fault, Location, refuse, where


@dataclass(frozen=True, kw_only=True, eq=False)
class TrainingSettings:
    """How to train. In a stage, None means "as the pipeline says"; what None means in the pipeline stands below.

    * num_mini_batch: number of minibatches a rollout is broken into, ≥ 1. Steps are dealt as evenly as possible.
    * update_repeats: how often the minibatches of one rollout are gone through, ≥ 0. 0: no on-policy update;
      None in the pipeline: once.
    * max_grad_norm: gradients are scaled so that their norm (see grad_norm_type) does not exceed this, > 0.
      None in the pipeline: no clipping.
    * num_steps: steps in each environment that make one rollout, ≥ 1.
    * gamma: discount factor of rewards, in [0, 1].
    * use_gae: use generalized advantage estimation (Schulman et al. 2016, https://arxiv.org/abs/1506.02438).
    * gae_lambda: the λ of GAE, in [0, 1]; 0 is the one-step error, 1 the Monte-Carlo advantage. Unused without GAE.
    * advance_scene_rollout_period: after how many rollouts of the stage every environment is asked for a new scene,
      ≥ 1. None in the pipeline: never.
    * save_interval: save after this many total steps, and at the end of each stage. ≤ 0: only at the end of each
      stage. None in the pipeline: no checkpoints at all.
    * metric_accumulate_interval: total steps between two closings of the metrics, ≥ 1. Closed metrics are logged and
      shown to the stage's early-stopping criterion.
    * grad_norm_type: the norm that max_grad_norm speaks of, > 0. Default inf (the largest absolute entry);
      published PPO results use 2.
    """

    num_mini_batch: int | None = None
    update_repeats: int | None = None
    max_grad_norm: float | None = None
    num_steps: int | None = None
    gamma: float | None = None
    use_gae: bool | None = None
    gae_lambda: float | None = None
    advance_scene_rollout_period: int | None = None
    save_interval: int | None = None
    metric_accumulate_interval: int | None = None
    grad_norm_type: float | None = None
    location: Location | None = field(default=None, init=False, repr=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "location", where())
        refuse(self.faults())

    def faults(self) -> list[Fault]:
        """Everything that is wrong with this declaration, taken by itself."""
        values = {name: getattr(self, name) for name in SETTING_NAMES}
        return [self.fault(name, text) for name, value in values.items() if (text := _fault_of(name, value))]

    def fault(self, argument: str, message: str, hint: str = "") -> Fault:
        """A fault of this declaration, located where it is given `argument`."""
        return Fault(message, self.location.of_argument(argument) if self.location else None, hint)


@dataclass(frozen=True, kw_only=True)
class ResolvedSettings:
    """The settings in force in one stage: nothing is None because somebody forgot it. See `TrainingSettings`."""

    num_mini_batch: int
    update_repeats: int
    max_grad_norm: float | None
    num_steps: int
    gamma: float
    use_gae: bool
    gae_lambda: float
    advance_scene_rollout_period: int | None
    save_interval: int | None
    metric_accumulate_interval: int
    grad_norm_type: float


SETTING_NAMES = tuple(f.name for f in fields(ResolvedSettings))

# name -> (whole number?, lowest, highest, may the lowest itself be?)
_RANGES: dict[str, tuple[bool, float, float, bool]] = {
    "num_mini_batch": (True, 1, math.inf, True),
    "update_repeats": (True, 0, math.inf, True),
    "max_grad_norm": (False, 0, math.inf, False),
    "num_steps": (True, 1, math.inf, True),
    "gamma": (False, 0, 1, True),
    "gae_lambda": (False, 0, 1, True),
    "advance_scene_rollout_period": (True, 1, math.inf, True),
    "save_interval": (True, -math.inf, math.inf, True),
    "metric_accumulate_interval": (True, 1, math.inf, True),
    "grad_norm_type": (False, 0, math.inf, False),
}


def resolve(stage: TrainingSettings, pipeline: TrainingSettings) -> ResolvedSettings:
    """The stage's settings, with the pipeline's where the stage has None.

    The pipeline's own None stands for: update_repeats 1, grad_norm_type inf; the other three stay None.
    """
    values: dict[str, Any] = {"update_repeats": 1, "grad_norm_type": math.inf}
    for name in SETTING_NAMES:
        own, inherited = getattr(stage, name), getattr(pipeline, name)
        if own is not None or inherited is not None:
            values[name] = inherited if own is None else own
        values.setdefault(name, None)
    return ResolvedSettings(**values)


def own_settings(settings: TrainingSettings) -> Iterator[str]:
    """The names of the settings that this declaration says itself instead of inheriting them."""
    return (name for name in SETTING_NAMES if getattr(settings, name) is not None)


def number_fault(name: str, value: Any, whole: bool, low: float, high: float, low_is_allowed: bool) -> str | None:
    """What is wrong with a number that should lie between `low` and `high`, or None."""
    wanted = "a whole number" if whole else "a number"
    if isinstance(value, bool) or not isinstance(value, int if whole else (int, float)):
        return f"{name} must be {wanted}, not {value!r} ({type(value).__name__})"
    above_low = value >= low if low_is_allowed else value > low
    if above_low and value <= high:
        return None
    if high == math.inf:
        return f"{name} must be {'at least' if low_is_allowed else 'above'} {low:g}, not {value!r}"
    return f"{name} must be between {low:g} and {high:g}, not {value!r}"


def _fault_of(name: str, value: Any) -> str | None:
    if value is None:
        return None
    if name == "use_gae":
        return None if isinstance(value, bool) else f"use_gae must be True or False, not {value!r}"
    return number_fault(name, value, *_RANGES[name])
