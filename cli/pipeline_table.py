"""The table of `inspect-pipeline`: stages side by side, a row for every setting in force."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from ..core.builder import Builder
from ..core.description import describe
from ..core.early_stopping import StopWhenMetricReaches
from ..core.experiment import Experiment
from ..core.pipeline import PipelineStage
from ..core.schedules import LinearDecay, MultiLinearDecay
from .console import Cell
from .curves import Curve, curve_over, learning_rates, steps_of

_ABSENT = Cell("—", "dim")
_OWN, _INHERITED = "bold", "dim"
LEGEND = "* the stage's own setting; the others are the pipeline's"

Row = list[str | Cell]


def headline(experiment: Experiment) -> list[str]:
    """What holds for all stages."""
    said = describe(experiment)
    budgets = [steps_of(stage) for stage in experiment.pipeline]
    known = sum(budget for budget in budgets if budget is not None)
    more = " and more" if None in budgets else ""
    rewards = ", rewards normalised" if experiment.normalize_rewards else ""
    return [
        f"{len(budgets)} {'stage' if len(budgets) == 1 else 'stages'}, at most {known:,} steps{more}",
        f"environment  {in_words(said['environment'])} × {experiment.num_envs}{rewards}",
        f"model        {in_words(said['model'])}",
        f"optimizer    {in_words(said['optimizer'])}",
        f"schedule     {in_words(said['lr_scheduler']) if said['lr_scheduler'] else 'constant learning rate'}",
        *(f"loss         {name} = {in_words(loss)}" for name, loss in said["losses"].items()),
    ]


def rows(experiment: Experiment) -> list[Row]:
    """One row for each thing that can be said of a stage; the first cell names it."""
    stages = list(experiment.pipeline)
    described = describe(experiment)["stages"]
    rates = learning_rates(experiment)
    columns = [
        {
            "steps": Cell(_steps(stage)),
            "losses (weight)": Cell(_weighted(said["loss_names"], said["loss_weights"])),
            "learning rate": _curve(rate),
            "teacher forcing": _schedule(stage.teacher_forcing, stage),
            **_loss_schedules(experiment, stage),
            "early stopping": _criterion(stage, said["early_stopping_criterion"]),
            "off-policy": _off_policy(said["offpolicy_component"]),
            "environment": _optional(said["environment"]),
            "restarts": _restarts(stage),
            **_settings(said),
        }
        for stage, said, rate in zip(stages, described, rates, strict=True)
    ]
    names = dict.fromkeys(name for column in columns for name in column)
    kept = [name for name in names if name in described[0]["settings"] or _says_something(name, columns)]
    return [[name, *(column.get(name, _ABSENT) for column in columns)] for name in kept]


def in_words(said: Any) -> str:
    """A part of `describe` as one would write it: MLPActorCritic(hidden_sizes=[64, 64])."""
    if isinstance(said, list):
        return f"[{', '.join(in_words(part) for part in said)}]"
    if not isinstance(said, Mapping):
        return f"{said:g}" if isinstance(said, float) else str(said)
    if "function" in said:
        return _last_name(said["function"])
    if kind := said.get("build") or said.get("object"):
        arguments = [f"{name}={in_words(value)}" for name, value in said.get("arguments", {}).items()]
        return f"{_last_name(kind)}({', '.join(arguments)})"
    return f"{{{', '.join(f'{name}: {in_words(value)}' for name, value in said.items())}}}"


def _last_name(path: str) -> str:
    return path.replace("<locals>.", "").rpartition(".")[2]


def _says_something(name: str, columns: list[dict[str, Cell]]) -> bool:
    """Rows that are empty for all stages are left out, except those that everybody looks for."""
    looked_for = ("teacher forcing", "early stopping", "off-policy")
    return name in looked_for or any(column.get(name, _ABSENT) != _ABSENT for column in columns)


def _steps(stage: PipelineStage) -> str:
    steps = steps_of(stage)
    return f"≤ {steps:,}" if steps is not None else "asked when it begins"


def _weighted(names: list[str], weights: list[float]) -> str:
    return ", ".join(f"{name} ({weight:g})" for name, weight in zip(names, weights, strict=True)) or "—"


def _curve(curve: Curve | None) -> Cell:
    return Cell("known only in training", "dim") if curve is None else Cell(str(curve))


def _schedule(schedule: Any, stage: PipelineStage) -> Cell:
    if schedule is None:
        return _ABSENT
    steps = steps_of(stage)
    if steps is None:
        return Cell(f"{schedule(0):g} → ?")
    return Cell(str(curve_over(schedule, steps)))


def _loss_schedules(experiment: Experiment, stage: PipelineStage) -> dict[str, Cell]:
    """The schedules among the arguments of the stage's losses: clip_decay and the like."""
    return {
        f"{name}.{argument}": _schedule(value, stage) if name in stage.loss_names else _ABSENT
        for name, loss in experiment.pipeline.named_losses.items()
        for argument, value in _arguments(loss)
        if isinstance(value, (LinearDecay, MultiLinearDecay)) or (argument == "clip_decay" and callable(value))
    }


def _arguments(loss: Any) -> Iterator[tuple[str, Any]]:
    arguments = {**loss.default, **loss.kwargs} if isinstance(loss, Builder) else getattr(loss, "__dict__", {})
    yield from arguments.items()


def _criterion(stage: PipelineStage, said: Any) -> Cell:
    criterion = stage.early_stopping_criterion
    if not isinstance(criterion, StopWhenMetricReaches):
        return _optional(said)
    row, episodes = criterion.consecutive_intervals, criterion.minimum_episodes
    words = [f"{criterion.metric} ≥ {criterion.threshold:g}"]
    words += [f"{row} intervals in a row"] if row > 1 else []
    words += [f"at least {episodes:,} episodes"] if episodes else []
    return Cell(", ".join(words))


def _optional(said: Any) -> Cell:
    return _ABSENT if said is None else Cell(in_words(said))


def _off_policy(said: Mapping[str, Any] | None) -> Cell:
    if said is None:
        return _ABSENT
    weights = said["loss_weights"] or [1.0] * len(said["loss_names"])
    source = in_words(said["data_iterator_builder"])
    return Cell(f"{said['updates']} updates a rollout: {_weighted(said['loss_names'], weights)} from {source}")


def _restarts(stage: PipelineStage) -> Cell:
    restarts = [name for name in ("optimizer", "lr_scheduler") if getattr(stage, f"restart_{name}")]
    return Cell(", ".join(restarts)) if restarts else _ABSENT


def _settings(said: Mapping[str, Any]) -> dict[str, Cell]:
    """Every setting in force: marked where the stage itself says so, dim where it comes from the pipeline."""
    own = said["own_settings"]
    return {
        name: Cell(f"{_value(name, value)} *", _OWN) if name in own else Cell(_value(name, value), _INHERITED)
        for name, value in said["settings"].items()
    }


def _value(name: str, value: Any) -> str:
    if value is None:
        return "no checkpoints" if name == "save_interval" else "never" if name.startswith("advance") else "no clipping"
    if isinstance(value, int) and not isinstance(value, bool):
        return f"{value:,}"
    return in_words(value)
