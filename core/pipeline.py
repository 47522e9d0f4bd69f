"""TrainingPipeline, its stages and their off-policy parts: declarations, frozen and checked when written.

Counters live in `engine.progress.Progress`, built objects in `engine.trainer.Trainer`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple
from weakref import WeakSet

from .builder import Builder
from .early_stopping import EarlyStoppingCriterion
from .errors import Fault, did_you_mean, refuse, where
from .settings import ResolvedSettings, TrainingSettings, number_fault, resolve

if TYPE_CHECKING:
    import torch

    from .experiment import EnvironmentSource
    from .losses.loss import Loss, OffPolicyLoss


class OffPolicyPipelineComponent(NamedTuple):
    """Updates from data that the current policy did not collect, made after each on-policy update of a stage.

    * data_iterator_builder: called with keyword arguments (see data_iterator_kwargs_generator), gives an iterator
      of batches. When it ends it is built anew (a new epoch); one that is empty when fresh is an error. If it has
      `state_dict` and `load_state_dict` its position is saved with those; otherwise a resumed run skips as many
      batches as had been taken.
    * loss_names: names of off-policy losses in the pipeline's `named_losses`.
    * updates: optimizer steps after each rollout, ≥ 1.
    * loss_weights: one number for each name; None: all one.
    * data_iterator_kwargs_generator: called as (cur_worker, rollouts_per_worker, seed), gives the keyword arguments.
      cur_worker: rank of this worker. rollouts_per_worker: environments of each worker. seed: the same on all
      workers, another for each epoch.
    """

    data_iterator_builder: Callable[..., Iterator[Any]]
    loss_names: Sequence[str]
    updates: int
    loss_weights: Sequence[float] | None = None
    data_iterator_kwargs_generator: Callable[[int, list[int], int | None], dict[str, Any]] | None = None


@dataclass(frozen=True, eq=False)
class PipelineStage(TrainingSettings):
    """A single stage of a pipeline, possibly with settings of its own (None: as the pipeline says).

    * loss_names: names of losses in the pipeline's `named_losses`; empty for a stage that only learns off-policy.
    * max_stage_steps: steps to take in this stage over all environments and workers, ≥ 1, or a function without
      arguments that is asked once, when the stage begins. A stage ends between rollouts: it may overshoot by less
      than a rollout.
    * loss_weights: one number for each name; None: all one.
    * teacher_forcing: a function of the steps taken in the stage that gives the probability with which an
      environment takes the expert's action. None: never.
    * early_stopping_criterion: asked once for each closed interval with finished episodes; True ends the stage.
      If it has `state_dict` and `load_state_dict` its state is saved; one without lowers the guarantee of a resume.
    * offpolicy_component: updates from other data after each rollout, or None.
    * name: what the stage is called in tables and commands; None: its losses' names.
    * environment: the environments of this stage and those after it; None: as before. Its spaces must be the same.
    * restart_optimizer: begin the stage with a fresh optimizer (moments forgotten).
    * restart_lr_scheduler: begin the stage with a fresh learning-rate scheduler, driven by the stage's own steps.

    Raises `ExperimentError` that lists everything wrong with the declaration.
    """

    loss_names: Sequence[str]
    max_stage_steps: int | Callable[[], int]
    loss_weights: Sequence[float] | None = None
    teacher_forcing: Callable[[int], float] | None = None
    early_stopping_criterion: EarlyStoppingCriterion | None = None
    offpolicy_component: OffPolicyPipelineComponent | None = None
    name: str | None = None
    environment: EnvironmentSource | None = None
    restart_optimizer: bool = False
    restart_lr_scheduler: bool = False

    def faults(self) -> list[Fault]:
        """Everything that is wrong with this stage, taken by itself."""
        faults = super().faults()
        faults += [self.fault("loss_names", text) for text in _name_faults("loss_names", self.loss_names)]
        faults += [
            self.fault("loss_weights", text)
            for text in _weight_faults("loss_weights", self.loss_weights, self.loss_names)
        ]
        if not callable(self.max_stage_steps):
            text = number_fault("max_stage_steps", self.max_stage_steps, True, 1, math.inf, True)
            faults += [self.fault("max_stage_steps", text)] if text else []
        if self.teacher_forcing is not None and not callable(self.teacher_forcing):
            text = f"teacher_forcing must be a function of the stage's steps, not {self.teacher_forcing!r}"
            faults.append(self.fault("teacher_forcing", text, "for a constant write LinearDecay(1, p, p)"))
        if self.early_stopping_criterion is not None and not callable(self.early_stopping_criterion):
            text = f"early_stopping_criterion must be an EarlyStoppingCriterion, not {self.early_stopping_criterion!r}"
            faults.append(self.fault("early_stopping_criterion", text))
        if self.offpolicy_component is not None:
            faults += [self.fault("offpolicy_component", text) for text in _component_faults(self.offpolicy_component)]
        elif not self.loss_names:
            text = "a stage without losses and without an offpolicy_component would learn nothing"
            faults.append(self.fault("loss_names", text, "name at least one loss"))
        return faults


_stages_in_use: WeakSet[PipelineStage] = WeakSet()


@dataclass(frozen=True, eq=False, init=False)
class TrainingPipeline(TrainingSettings):
    """The stages of a training, in order, and the settings they share. Iterating gives the stages.

    * named_losses: name -> a loss, or a Builder of one. Each is built once and shared by the stages that name it.
    * pipeline_stages: at least one stage; each stage object may stand in one pipeline, once.
    * optimizer_builder: called with the model's parameters, e.g. `Builder(torch.optim.Adam, {"lr": 3e-4})`.
    * num_mini_batch … metric_accumulate_interval: see `TrainingSettings`.
    * should_log: False silences the console and TensorBoard, not `metrics.jsonl`.
    * lr_scheduler_builder: called with `optimizer=`; any torch scheduler. Its "epoch" is the number of total steps.
    * grad_norm_type: see `TrainingSettings`.

    Raises `ExperimentError` that lists everything wrong with the declaration.
    """

    named_losses: Mapping[str, Loss | OffPolicyLoss | Builder[Loss] | Builder[OffPolicyLoss]]
    pipeline_stages: tuple[PipelineStage, ...]
    optimizer_builder: Builder[torch.optim.Optimizer]
    should_log: bool
    lr_scheduler_builder: Builder[torch.optim.lr_scheduler.LRScheduler] | None

    def __init__(
        self,
        named_losses: Mapping[str, Loss | OffPolicyLoss | Builder[Loss] | Builder[OffPolicyLoss]],
        pipeline_stages: Sequence[PipelineStage],
        optimizer_builder: Builder[torch.optim.Optimizer],
        num_mini_batch: int,
        update_repeats: int | None,
        max_grad_norm: float | None,
        num_steps: int,
        gamma: float,
        use_gae: bool,
        gae_lambda: float,
        advance_scene_rollout_period: int | None,
        save_interval: int | None,
        metric_accumulate_interval: int,
        should_log: bool = True,
        lr_scheduler_builder: Builder[torch.optim.lr_scheduler.LRScheduler] | None = None,
        *,
        grad_norm_type: float | None = None,
    ) -> None:
        """See the class for what each argument means."""
        values = dict(locals())
        for name in ("self", "__class__"):
            values.pop(name, None)
        values["pipeline_stages"] = _as_tuple(pipeline_stages)
        for name, value in values.items():
            object.__setattr__(self, name, value)
        object.__setattr__(self, "location", where())
        faults = self.faults()
        refuse(faults)
        if not faults:
            _stages_in_use.update(self.pipeline_stages)

    def __iter__(self) -> Iterator[PipelineStage]:
        return iter(self.pipeline_stages)

    def __len__(self) -> int:
        return len(self.pipeline_stages)

    def settings_of(self, stage: PipelineStage) -> ResolvedSettings:
        """The settings in force in one of this pipeline's stages."""
        return resolve(stage, self)

    def stage_names(self) -> list[str]:
        """One distinct name for each stage: its own, or its losses' names, numbered where they repeat."""
        plain = [stage.name or _default_name(stage) for stage in self]
        return [
            name if stage.name or plain.count(name) == 1 else f"{name}-{plain[: index + 1].count(name)}"
            for index, (stage, name) in enumerate(zip(self, plain, strict=True))
        ]

    def faults(self) -> list[Fault]:
        """Everything that is wrong between the stages, the losses and the pipeline's own settings."""
        faults = super().faults()
        for name in ("num_mini_batch", "num_steps", "gamma", "use_gae", "gae_lambda", "metric_accumulate_interval"):
            if getattr(self, name) is None:
                faults.append(self.fault(name, f"{name} must be given in the pipeline", "stages inherit it from there"))
        faults += self._builder_faults() + self._stage_list_faults()
        if not faults or all(isinstance(stage, PipelineStage) for stage in self.pipeline_stages):
            faults += self._unknown_loss_faults()
        return faults

    def _builder_faults(self) -> list[Fault]:
        faults = []
        if not isinstance(self.optimizer_builder, Builder):
            text = f"optimizer_builder must be a Builder, not {self.optimizer_builder!r}"
            faults.append(
                self.fault("optimizer_builder", text, 'write e.g. Builder(torch.optim.Adam, {"lr": 3e-4}), without ()')
            )
        if self.lr_scheduler_builder is not None and not isinstance(self.lr_scheduler_builder, Builder):
            text = f"lr_scheduler_builder must be a Builder or None, not {self.lr_scheduler_builder!r}"
            faults.append(self.fault("lr_scheduler_builder", text))
        if not isinstance(self.named_losses, Mapping) or not self.named_losses:
            text = f"named_losses must be a dictionary of at least one loss, not {self.named_losses!r}"
            faults.append(self.fault("named_losses", text))
        else:
            faults += [
                self.fault("named_losses", f"the loss {name!r} must be a loss or a Builder of one, not {loss!r}")
                for name, loss in self.named_losses.items()
                if isinstance(loss, type) or not callable(loss)
            ]
        return faults

    def _stage_list_faults(self) -> list[Fault]:
        stages = self.pipeline_stages
        if not stages:
            return [self.fault("pipeline_stages", "pipeline_stages is empty", "a pipeline needs at least one stage")]
        faults = [
            self.fault("pipeline_stages", f"pipeline_stages must hold PipelineStage objects, not {stage!r}")
            for stage in stages
            if not isinstance(stage, PipelineStage)
        ]
        if faults:
            return faults
        repeated = {index for index, stage in enumerate(stages) if any(stage is other for other in stages[:index])}
        for index, stage in enumerate(stages):
            if index in repeated:
                text = f"the same PipelineStage object stands twice in pipeline_stages (the second time as number {index + 1})"
                faults.append(Fault(text, stage.location, "write the stage out twice, or make it in a function"))
            elif stage in _stages_in_use:
                text = "this PipelineStage object already belongs to another pipeline"
                faults.append(Fault(text, stage.location, "make a new stage for each pipeline"))
        named = [stage.name for stage in stages if stage.name]
        faults += [
            stage.fault("name", f"two stages are named {stage.name!r}", "stages are addressed by name: choose another")
            for index, stage in enumerate(stages)
            if index not in repeated and stage.name and stage.name in [s.name for s in stages[:index]]
        ]
        return faults if named or faults else []

    def _unknown_loss_faults(self) -> list[Fault]:
        known = list(self.named_losses) if isinstance(self.named_losses, Mapping) else []
        faults = []
        for stage, label in zip(self, self.stage_names(), strict=True):
            component = stage.offpolicy_component
            off_policy = component.loss_names if isinstance(component, OffPolicyPipelineComponent) else ()
            for argument, names in (("loss_names", stage.loss_names), ("offpolicy_component", off_policy)):
                faults += [
                    stage.fault(
                        argument,
                        f"stage {label!r} uses the loss {name!r}, which is not in named_losses",
                        did_you_mean(name, known),
                    )
                    for name in _as_tuple(names)
                    if isinstance(name, str) and name not in known
                ]
        return faults


def _default_name(stage: PipelineStage) -> str:
    component = stage.offpolicy_component
    names = [*stage.loss_names, *(component.loss_names if component else ())]
    return "+".join(str(name) for name in names)


def _as_tuple(values: Any) -> tuple[Any, ...]:
    return tuple(values) if isinstance(values, (list, tuple)) else (values,)


def _name_faults(argument: str, names: Any) -> list[str]:
    if isinstance(names, str) or not isinstance(names, Sequence):
        return [f"{argument} must be a list of names, not {names!r}"]
    faults = [f"{argument} must hold names, not {name!r}" for name in names if not isinstance(name, str)]
    twice = sorted({name for name in names if isinstance(name, str) and list(names).count(name) > 1})
    return faults + [f"{argument} names {name!r} more than once" for name in twice]


def _weight_faults(argument: str, weights: Any, names: Any) -> list[str]:
    if weights is None:
        return []
    if isinstance(weights, str) or not isinstance(weights, Sequence):
        return [f"{argument} must be a list of numbers or None, not {weights!r}"]
    faults = [
        f"{argument} must hold finite numbers, not {weight!r}"
        for weight in weights
        if isinstance(weight, bool) or not isinstance(weight, (int, float)) or not math.isfinite(weight)
    ]
    if isinstance(names, Sequence) and len(weights) != len(names):
        faults.append(f"{argument} has {len(weights)} numbers for {len(names)} losses ({', '.join(map(str, names))})")
    return faults


def _component_faults(component: Any) -> list[str]:
    if not isinstance(component, OffPolicyPipelineComponent):
        return [f"offpolicy_component must be an OffPolicyPipelineComponent, not {component!r}"]
    faults = [f"offpolicy_component: {text}" for text in _name_faults("loss_names", component.loss_names)]
    faults += [
        f"offpolicy_component: {text}"
        for text in _weight_faults("loss_weights", component.loss_weights, component.loss_names)
    ]
    if text := number_fault("updates", component.updates, True, 1, math.inf, True):
        faults.append(f"offpolicy_component: {text}")
    if not component.loss_names:
        faults.append("offpolicy_component: loss_names is empty")
    generator = component.data_iterator_kwargs_generator
    if not callable(component.data_iterator_builder):
        faults.append(f"offpolicy_component: data_iterator_builder is no function: {component.data_iterator_builder!r}")
    if generator is not None and not callable(generator):
        faults.append(f"offpolicy_component: data_iterator_kwargs_generator is no function: {generator!r}")
    return faults
