"""Adjustments: what a command changes in an experiment without touching its file. They are kept in `run.json`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from ..errors import UsageError, did_you_mean
from ..experiment import Experiment
from ..experiment_file import LoadedExperiment, load_experiment
from ..pipeline import PipelineStage
from .building import environment_of_stage


@dataclass(frozen=True)
class Adjustments:
    """What differs from the experiment as it is written; None or 0: nothing.

    * first_stage: the pipeline begins with the stage of this name; those before it are left out.
    * extend_steps: added to the budget of the last stage.
    * total_steps: the budgets of all stages, made shorter or longer in proportion, are together about so many.
    * save_interval, metric_accumulate_interval: in force in every stage.
    """

    extend_steps: int = 0
    total_steps: int | None = None
    save_interval: int | None = None
    metric_accumulate_interval: int | None = None
    first_stage: str | None = None

    def to_json(self) -> dict[str, Any]:
        """As `run.json` holds them; `Adjustments(**…)` reads it."""
        return asdict(self)

    def apply(self, experiment: Experiment) -> Experiment:
        """The experiment with these changes; the same object if there are none. Raises UsageError for no such stage."""
        if self == NO_ADJUSTMENTS:
            return experiment
        if self.first_stage is not None:
            experiment = _without_stages_before(self.first_stage, experiment)
        pipeline = experiment.pipeline
        own = {
            name: value
            for name in ("save_interval", "metric_accumulate_interval")
            if (value := getattr(self, name)) is not None
        }
        share = self._share(pipeline.pipeline_stages)
        stages = [replace(stage, max_stage_steps=_scaled(stage.max_stage_steps, share), **own) for stage in pipeline]
        stages[-1] = replace(stages[-1], max_stage_steps=_extended(stages[-1].max_stage_steps, self.extend_steps))
        return replace(experiment, pipeline=replace(pipeline, pipeline_stages=tuple(stages)))

    def _share(self, stages: tuple[PipelineStage, ...]) -> float:
        if self.total_steps is None:
            return 1.0
        budgets = [stage.max_stage_steps for stage in stages]
        return self.total_steps / sum(budget() if callable(budget) else budget for budget in budgets)


NO_ADJUSTMENTS = Adjustments()


def load_adjusted(path: Path, settings: Mapping[str, str], adjustments: Adjustments) -> LoadedExperiment:
    """The experiment of a file, see `load_experiment`, with these changes."""
    loaded = load_experiment(path, settings)
    return replace(loaded, experiment=adjustments.apply(loaded.experiment))


def _without_stages_before(name: str, experiment: Experiment) -> Experiment:
    """The pipeline from this stage on; the stages keep their names, and the first the environment it would have had."""
    pipeline, names = experiment.pipeline, experiment.pipeline.stage_names()
    if name not in names:
        raise UsageError(f"there is no stage {name!r}", did_you_mean(name, names))
    first = names.index(name)
    stages = [replace(stage, name=own) for stage, own in zip(pipeline, names, strict=True)][first:]
    source = environment_of_stage(experiment, first).source
    if source is not experiment.environment:
        stages[0] = replace(stages[0], environment=source)
    return replace(experiment, pipeline=replace(pipeline, pipeline_stages=tuple(stages)))


@dataclass(frozen=True)
class _Scaled:
    budget: Callable[[], int]
    share: float

    def __call__(self) -> int:
        return max(1, round(self.budget() * self.share))


@dataclass(frozen=True)
class _Extended:
    budget: Callable[[], int]
    steps: int

    def __call__(self) -> int:
        return self.budget() + self.steps


def _scaled(budget: int | Callable[[], int], share: float) -> int | Callable[[], int]:
    if share == 1:
        return budget
    return _Scaled(budget, share) if callable(budget) else max(1, round(budget * share))


def _extended(budget: int | Callable[[], int], steps: int) -> int | Callable[[], int]:
    if steps == 0:
        return budget
    return _Extended(budget, steps) if callable(budget) else budget + steps
