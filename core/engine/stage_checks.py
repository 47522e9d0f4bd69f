"""What can be known to be wrong with a stage before the first step of the training."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import gymnasium

from ..errors import ExperimentError, Fault, refuse
from ..experiment import Experiment
from ..pipeline import PipelineStage
from .environments import Environments, build_environments, is_same_space
from .learning.off_policy import NoOffPolicy


def who_asks_the_expert(stage: PipelineStage, losses: Mapping[str, Any]) -> str:
    """What in a stage needs the expert's actions, in words; empty if nothing does."""
    if stage.teacher_forcing is not None:
        return "teacher_forcing"
    asking = [name for name in stage.loss_names if getattr(losses[name], "needs_expert", False)]
    return f"the loss {asking[0]!r}" if asking else ""


class _Surroundings(NamedTuple):
    """What there is to know about the environments of a stage."""

    observation_space: gymnasium.Space[Any]
    action_space: gymnasium.Space[Any]
    has_expert: bool

    @classmethod
    def of(cls, environments: Environments) -> _Surroundings:
        return cls(environments.observation_space, environments.action_space, environments.has_expert)


def check_stages(
    experiment: Experiment,
    first: int,
    current: int,
    environments: Environments,
    losses: Mapping[str, Any],
    off_policy: Callable[[int], NoOffPolicy],
) -> None:
    """Refuse stages, from `first` on, whose experts, environments or data do not fit; all faults at once.

    One environment of each later stage with environments of its own is built, and each data iterator, for that alone.

    * current, environments: a stage, not after `first`, and the environments it has.
    * off_policy: makes the off-policy side of a stage.
    """
    model_fits = here = _Surroundings.of(environments)
    faults: list[Fault] = []
    names = experiment.pipeline.stage_names()
    for index, stage in enumerate(experiment.pipeline):
        if index < first:
            continue
        try:
            here = _surroundings(stage) if stage.environment is not None and index > current else here
            _check(stage, here, model_fits, losses, off_policy(index))
        except ExperimentError as error:
            faults += error.within(f"stage {names[index]!r}").faults
    refuse(faults)


def _check(
    stage: PipelineStage,
    here: _Surroundings,
    model_fits: _Surroundings,
    losses: Mapping[str, Any],
    off_policy: NoOffPolicy,
) -> None:
    for name in ("observation_space", "action_space"):
        found, wanted = getattr(here, name), getattr(model_fits, name)
        if not is_same_space(found, wanted):
            raise ExperimentError(
                f"its environments have the {name} {found}, those before had {wanted}",
                "one model acts in all stages: their spaces must be equal",
            )
    asks = who_asks_the_expert(stage, losses)
    if asks and not here.has_expert:
        raise ExperimentError(
            f"{asks} needs the expert, but the environments have no expert_action()",
            "give them (or a wrapper of them) a method expert_action() that returns an action or None",
        )
    off_policy.check(model_fits.observation_space, model_fits.action_space)


def _surroundings(stage: PipelineStage) -> _Surroundings:
    assert stage.environment is not None
    probe = build_environments(stage.environment, range(1), 0, "probe")
    try:
        return _Surroundings.of(probe)
    finally:
        probe.close()
