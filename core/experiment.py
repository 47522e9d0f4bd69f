"""Experiment: what an experiment file returns."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeAlias

from . import checks
from .builder import Builder
from .early_stopping import StopWhenMetricReaches
from .errors import Fault, Location, refuse, shown, where
from .pipeline import TrainingPipeline
from .validation import Validation

if TYPE_CHECKING:
    import gymnasium
    from torch import nn

EnvironmentSource: TypeAlias = (
    "str | Builder[gymnasium.Env[Any, Any] | gymnasium.vector.VectorEnv[Any, Any, Any]]"
    " | Callable[..., gymnasium.Env[Any, Any] | gymnasium.vector.VectorEnv[Any, Any, Any]]"
)


@dataclass(frozen=True, eq=False)
class Experiment:
    """Which agent is trained where, and how.

    * environment: an id that gymnasium knows ("CartPole-v1", or "module:Id" to import the module that registers it), a
      Builder of a `gymnasium.Env`, or a function that gives one. If it takes an argument `num_envs` it must give a
      `gymnasium.vector.VectorEnv` of so many environments.
    * num_envs: environments in total, ≥ 1; dealt to the workers as evenly as possible.
    * model: called with (observation_space, action_space) of one environment, gives the `nn.Module`.
    * pipeline: the stages of the training.
    * normalize_rewards: divide rewards by the running standard deviation of the discounted return. Metrics show the
      environment's own rewards.
    * environment_processes: child processes of each worker that step its environments; 0: the worker steps them itself;
      None: what is fastest, by a short measurement: the worker alone where steps are cheap, one process for each core
      where they are not, the worker among them unless all steps together take longer than 10 ms. The outcome does not
      depend on it. An environment that crashes its process or hangs is survived in a child only.
    * environment_groups: into how many groups each worker's environments are dealt, ≥ 1. With 2 one takes its step
      while the model acts for the other: sooner where steps wait for a simulator, or where cores are left for more
      children. The data is as fresh as ever; the bits depend on the number of groups, and not on who is faster.
    * validation: episodes that the model plays now and then while it trains; None: none.
    * environment_timeout: seconds that a step may take in a child before its environments count as hung, > 0.

    Raises `ExperimentError` that lists everything wrong with the declaration.
    """

    environment: EnvironmentSource
    num_envs: int
    model: Builder[nn.Module]
    pipeline: TrainingPipeline
    normalize_rewards: bool = False
    environment_processes: int | None = None
    environment_timeout: float = 60.0
    environment_groups: int = 1
    validation: Validation | None = None
    location: Location | None = field(default=None, init=False, repr=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "location", where())
        refuse(self.faults())

    def faults(self) -> list[Fault]:
        """Everything that is wrong with this declaration."""
        complaints = {
            "environment": checks.environment_complaints(self.environment),
            "num_envs": checks.whole_number_complaints("num_envs", self.num_envs),
            "model": checks.model_complaints(self.model),
            "pipeline": _pipeline_complaints(self.pipeline),
            "environment_processes": checks.process_complaints(self.environment_processes),
            "environment_groups": checks.whole_number_complaints("environment_groups", self.environment_groups),
            "environment_timeout": checks.seconds_complaints("environment_timeout", self.environment_timeout),
            "validation": _validation_complaints(self.validation),
            "normalize_rewards": checks.switch_complaints("normalize_rewards", self.normalize_rewards),
        }
        found = [self.fault(argument, *what) for argument, texts in complaints.items() for what in texts]
        if found or self.pipeline.faults():
            return found
        return [*self._minibatch_faults(), *self._criterion_faults()]

    def fault(self, argument: str, message: str, hint: str = "") -> Fault:
        """A fault of this declaration, located where it is given `argument`."""
        return Fault(message, self.location.of_argument(argument) if self.location else None, hint)

    def _minibatch_faults(self) -> Iterator[Fault]:
        """A rollout must hold a step for each minibatch."""
        for stage, name in zip(self.pipeline, self.pipeline.stage_names(), strict=True):
            settings = self.pipeline.settings_of(stage)
            steps = settings.num_steps * self.num_envs
            if settings.num_mini_batch > steps:
                text = (
                    f"the stage {name!r} breaks a rollout of {steps} steps into {settings.num_mini_batch} minibatches"
                )
                declaration = stage if stage.num_mini_batch is not None else self.pipeline
                hint = f"a rollout has num_steps * num_envs = {settings.num_steps} * {self.num_envs} steps"
                yield declaration.fault("num_mini_batch", text, hint)

    def _criterion_faults(self) -> Iterator[Fault]:
        """A criterion that waits for validation would wait for ever without any."""
        for stage, name in zip(self.pipeline, self.pipeline.stage_names(), strict=True):
            criterion = stage.early_stopping_criterion
            if isinstance(criterion, StopWhenMetricReaches) and criterion.is_of_validation and not self.validation:
                text = f"the stage {name!r} waits for {criterion.tag!r}, but the experiment has no validation"
                yield stage.fault("early_stopping_criterion", text, "give the Experiment validation=Validation(...)")


def _validation_complaints(validation: Any) -> checks.Complaints:
    if validation is not None and not isinstance(validation, Validation):
        yield f"validation must be a Validation or None, not {shown(validation)}", "write e.g. Validation(episodes=20)"


def _pipeline_complaints(pipeline: Any) -> checks.Complaints:
    if not isinstance(pipeline, TrainingPipeline):
        yield f"pipeline must be a TrainingPipeline, not {shown(pipeline)}", "write TrainingPipeline(...)"
