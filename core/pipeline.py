"""TrainingPipeline, its stages and their off-policy parts: declarations, frozen and checked when written.

Counters live in `engine.progress.Progress`, built objects in `engine.trainer.Trainer`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain, count
from typing import TYPE_CHECKING, Any, NamedTuple
from weakref import WeakKeyDictionary, ref

from . import checks
from .builder import Builder
from .early_stopping import EarlyStoppingCriterion
from .errors import Fault, did_you_mean, refuse, shown, where
from .settings import ResolvedSettings, TrainingSettings, resolve

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
        switches = ("restart_optimizer", "restart_lr_scheduler")
        complaints = {
            "loss_names": chain(checks.names_complaints(self.loss_names), _learns_nothing(self)),
            "max_stage_steps": checks.max_stage_steps_complaints(self.max_stage_steps),
            "loss_weights": checks.weights_complaints(self.loss_weights, self.loss_names),
            "teacher_forcing": checks.teacher_forcing_complaints(self.teacher_forcing),
            "early_stopping_criterion": checks.criterion_complaints(self.early_stopping_criterion),
            "offpolicy_component": _component_complaints(self.offpolicy_component),
            "name": checks.name_complaints(self.name),
            "environment": () if self.environment is None else checks.environment_complaints(self.environment),
            **{name: checks.switch_complaints(name, getattr(self, name)) for name in switches},
        }
        return super().faults() + _located(self, complaints)


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
        values = {name: value for name, value in locals().items() if name != "self"}
        if checks.is_list(pipeline_stages):
            values["pipeline_stages"] = tuple(pipeline_stages)
        for name, value in values.items():
            object.__setattr__(self, name, value)
        object.__setattr__(self, "location", where())
        refuse(self.faults())
        for stage in self._well_formed_stages():
            if _owner(stage) is None:
                _owners[stage] = ref(self)

    def __iter__(self) -> Iterator[PipelineStage]:
        return iter(self.pipeline_stages)

    def __len__(self) -> int:
        return len(self.pipeline_stages)

    def settings_of(self, stage: PipelineStage) -> ResolvedSettings:
        """The settings in force in one of this pipeline's stages."""
        return resolve(stage, self)

    def stage_names(self) -> list[str]:
        """One distinct name for each stage: its own, or its losses' names, numbered where they repeat."""
        defaults = [_default_name(stage) for stage in self if not stage.name]
        names: list[str] = []
        taken = {stage.name for stage in self}
        for stage in self:
            name = stage.name or next(name for name in _numbered(_default_name(stage), defaults) if name not in taken)
            taken.add(name)
            names.append(name)
        return names

    def faults(self) -> list[Fault]:
        """Everything that is wrong between the stages, the losses and the pipeline's own settings."""
        optimizer, scheduler = self.optimizer_builder, self.lr_scheduler_builder
        adam = 'Builder(torch.optim.Adam, {"lr": 3e-4})'
        linear = 'Builder(LambdaLR, {"lr_lambda": LinearDecay(100_000)})'
        complaints = {
            "named_losses": checks.named_losses_complaints(self.named_losses),
            "pipeline_stages": _stage_list_complaints(self.pipeline_stages),
            "optimizer_builder": checks.builder_complaints("optimizer_builder", optimizer, adam),
            **{name: checks.missing_complaints(name, getattr(self, name)) for name in _NEVER_NONE},
            "should_log": checks.switch_complaints("should_log", self.should_log),
            "lr_scheduler_builder": (
                () if scheduler is None else checks.builder_complaints("lr_scheduler_builder", scheduler, linear)
            ),
        }
        return [*super().faults(), *_located(self, complaints), *self._faults_between_stages()]

    def _well_formed_stages(self) -> list[PipelineStage]:
        stages = self.pipeline_stages if checks.is_list(self.pipeline_stages) else ()
        return [stage for stage in stages if isinstance(stage, PipelineStage)]

    def _faults_between_stages(self) -> Iterator[Fault]:
        seen: list[PipelineStage] = []
        for number, stage in enumerate(self._well_formed_stages(), start=1):
            if any(stage is other for other in seen):
                text = f"the same PipelineStage object stands twice in pipeline_stages (again as number {number})"
                yield Fault(text, stage.location, "write the stage out twice, or make it in a function")
                continue
            if _owner(stage) not in (None, self):
                text = "this PipelineStage object already belongs to another pipeline"
                yield Fault(text, stage.location, "make a new stage for each pipeline")
            if stage.name and stage.name in [other.name for other in seen]:
                text = f"two stages are named {stage.name!r}"
                yield stage.fault("name", text, "stages are addressed by their names: choose another")
            yield from self._unknown_loss_faults(stage)
            seen.append(stage)

    def _unknown_loss_faults(self, stage: PipelineStage) -> Iterator[Fault]:
        known = (
            [name for name in self.named_losses if isinstance(name, str)]
            if isinstance(self.named_losses, Mapping)
            else []
        )
        who = f"the stage {stage.name!r}" if stage.name else "the stage"
        for argument, name in _used_losses(stage) if known else ():
            if name not in known:
                text = f"{who} uses the loss {name!r}, which is not in named_losses"
                yield stage.fault(argument, text, did_you_mean(name, known))


_owners: WeakKeyDictionary[PipelineStage, ref[TrainingPipeline]] = WeakKeyDictionary()

_NEVER_NONE = ("num_mini_batch", "num_steps", "gamma", "use_gae", "gae_lambda", "metric_accumulate_interval")


def _owner(stage: PipelineStage) -> TrainingPipeline | None:
    """The pipeline that the stage stands in, if that pipeline is still there."""
    return _owners[stage]() if stage in _owners else None


def _located(declaration: TrainingSettings, complaints: Mapping[str, Iterable[tuple[str, str]]]) -> list[Fault]:
    """argument -> complaints about it; each becomes a fault on the line that gives the argument."""
    return [declaration.fault(argument, text, hint) for argument, found in complaints.items() for text, hint in found]


def _learns_nothing(stage: PipelineStage) -> checks.Complaints:
    if checks.is_list(stage.loss_names) and not stage.loss_names and stage.offpolicy_component is None:
        yield "a stage without losses and without an offpolicy_component would learn nothing", "name at least one loss"


def _component_complaints(component: Any) -> checks.Complaints:
    if component is None:
        return
    if not isinstance(component, OffPolicyPipelineComponent):
        yield f"offpolicy_component must be an OffPolicyPipelineComponent, not {shown(component)}", ""
        return
    yield from checks.within("offpolicy_component", checks.component_complaints(component))


def _stage_list_complaints(stages: Any) -> checks.Complaints:
    if not checks.is_list(stages):
        yield f"pipeline_stages must be a list of PipelineStage objects, not {shown(stages)}", "write [...] around it"
    elif not stages:
        yield "pipeline_stages is empty", "a pipeline needs at least one stage"
    else:
        for stage in stages:
            if not isinstance(stage, PipelineStage):
                hint = "it is a class: write PipelineStage(...)" if stage is PipelineStage else ""
                yield f"pipeline_stages must hold PipelineStage objects, not {shown(stage)}", hint


def _used_losses(stage: PipelineStage) -> Iterator[tuple[str, str]]:
    """(the argument that names it, its name) of each loss, the off-policy ones last."""
    component = stage.offpolicy_component
    off_policy = component.loss_names if isinstance(component, OffPolicyPipelineComponent) else ()
    for argument, names in (("loss_names", stage.loss_names), ("offpolicy_component", off_policy)):
        if checks.is_list(names):
            yield from ((argument, name) for name in names if isinstance(name, str))


def _default_name(stage: PipelineStage) -> str:
    """The stage's name, or else those of its losses."""
    return stage.name or "+".join(name for _, name in _used_losses(stage))


def _numbered(name: str, among: list[str]) -> Iterator[str]:
    """The name itself if it is the only one of its kind, then name-1, name-2, …"""
    return chain([name] if among.count(name) == 1 else [], (f"{name}-{number}" for number in count(1)))
