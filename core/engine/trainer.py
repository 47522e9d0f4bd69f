"""Trainer: builds the parts of a run, restores them, walks the stages."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from ..builder import Builder, built
from ..description import describe
from ..early_stopping import NeverEarlyStoppingCriterion
from ..errors import CheckpointError, ExperimentError, NonFiniteError, TrainctlError
from ..experiment import Experiment
from ..metrics import ScalarMeanTracker
from ..pipeline import PipelineStage
from .building import build_model, environment_of_stage, load_model
from .collecting.collector import RolloutCollector
from .collecting.failures import FailureBudget
from .collecting.reward_normalizer import RawRewards, RewardNormalizer
from .early_stopping import StageCriterion
from .environments import build_environments
from .learning.learner import Learner, WeightedLoss
from .learning.non_finite import FailedUpdate
from .learning.off_policy import NoOffPolicy, OffPolicyUpdater
from .playing.validation import validator_of
from .progress import Progress
from .reporting.reporting import Sinks
from .saving.changes import CHANGES_TRAINING, Change, budget_of, changes, parts_begun_anew
from .saving.checkpoint import Checkpoint, Stateful, add_about, checkpoint_name, save_checkpoint
from .saving.retention import retain
from .seeding import GlobalRandomState, derived_seed, set_seed
from .stage_checks import check_stages, who_asks_the_expert
from .stage_runner import StageRunner
from .workers.dealing import deal
from .workers.redeal import own_states
from .workers.workers import WorkerGroup

# parts whose state differs from worker to worker; the others are the same on all and saved once
OF_EACH_WORKER = ("collector", "off_policy", "failures", "metrics", "rewards", "random")


@dataclass
class Trainer:
    """One run of an experiment on one worker.

    * experiment, seed: what is trained; everything random follows from the seed.
    * device: where model and learning are.
    * sinks: who is told about closed intervals.
    * checkpoints: the directory in which checkpoints are written.
    * stop_requested: asked after each rollout; True saves and leaves.
    * warn: told what the user should know.
    * dump: keeps what is needed to repeat an update with non-finite numbers, and says how.
    * about: goes into every checkpoint's manifest.
    * keep: how many checkpoints stay, beside each stage's last; None: all.
    """

    experiment: Experiment
    seed: int
    device: torch.device
    workers: WorkerGroup
    sinks: Sinks = field(default_factory=lambda: Sinks([]))
    checkpoints: Path = Path("checkpoints")
    stop_requested: Callable[[], bool] = lambda: False
    warn: Callable[[str], None] = lambda text: None
    dump: Callable[[FailedUpdate], str] = lambda failed: ""
    about: dict[str, Any] = field(default_factory=dict)
    keep: int | None = None

    def __post_init__(self) -> None:
        self.pipeline = self.experiment.pipeline
        self.stages, self.stage_names = self.pipeline.pipeline_stages, self.pipeline.stage_names()
        self.losses: dict[str, Any] = {
            name: built(loss) if isinstance(loss, Builder) else loss
            for name, loss in self.pipeline.named_losses.items()
        }
        dealt = deal(self.experiment.num_envs, self.workers.world_size)
        self.environments_per_worker = [len(indices) for indices in dealt]
        self.indices = dealt[self.workers.rank]
        self.description = describe(self.experiment)
        self.changes: list[Change] = []  # since the checkpoint was written
        self.progress = Progress()
        self.metrics = ScalarMeanTracker()
        self.rewards = RewardNormalizer() if self.experiment.normalize_rewards else RawRewards()
        self.off_policy = NoOffPolicy()
        self.criterion = StageCriterion(NeverEarlyStoppingCriterion(), self.workers)
        self.failures = FailureBudget()
        self.random = GlobalRandomState()

    def parts(self) -> dict[str, Stateful]:
        """Everything a checkpoint holds, by name."""
        return {
            "learner": self.learner,
            "progress": self.progress,
            "early_stopping": self.criterion,
            "validation": self.validator,
            "sinks": self.sinks,
            "collector": self.collector,
            "off_policy": self.off_policy,
            "failures": self.failures,
            "metrics": self.metrics,
            "rewards": self.rewards,
            "random": self.random,
        }

    def build(self, stage_index: int = 0) -> None:
        """Make the model, the environments of this stage, and what learns and collects with them."""
        environments = self._build_environments(stage_index)
        self.model = build_model(self.experiment, environments.observation_space, environments.action_space, self.seed)
        self.model.to(self.device)
        set_seed(derived_seed(self.seed, "global", self.workers.rank))
        self.learner = Learner(
            self.model, self.pipeline.optimizer_builder, self.pipeline.lr_scheduler_builder, self.workers, self.seed
        )
        self.collector = RolloutCollector(self.model, environments, self.indices, self.seed, self.device)
        self.validator = validator_of(self.experiment, environments, self.model, self.workers, self.progress)
        first = stage_index + (self.progress.stage_ended is not None)
        check_stages(self.experiment, first, stage_index, environments, self.losses, self._off_policy)

    def train(self) -> bool:
        """Walk the stages that are left. True: all are done; False: somebody asked to stop."""
        if self._stage_is_over:
            self._leave()
        while self.progress.stage_index < len(self.stages):
            stage = self.stages[self.progress.stage_index]
            if self.progress.stage_budget is None:
                self._begin(stage)
            try:
                ended = self._runner(stage).run()
            except TrainctlError as error:
                if isinstance(error, NonFiniteError) and isinstance(error.evidence, FailedUpdate):
                    error.hint = self.dump(error.evidence) or error.hint
                raise error.within(f"stage {self.stage_name!r}") from error.__cause__
            if not ended:
                return False
            self._leave()
        return True

    @property
    def is_finished(self) -> bool:
        """Whether the last stage has ended."""
        left = len(self.stages) - self.progress.stage_index
        return left <= 0 or (left == 1 and self._stage_is_over)

    @property
    def _stage_is_over(self) -> bool:
        return self.progress.stage_ended is not None and not self.validator.is_underway

    @property
    def stage_name(self) -> str:
        """The name of the current stage; of the last one when all are done."""
        return self.stage_names[min(self.progress.stage_index, len(self.stages) - 1)]

    def _begin(self, stage: PipelineStage) -> None:
        """Enter a stage for the first time."""
        index, now = self.progress.stage_index, self.progress.total_steps
        if stage.environment is not None and index > 0:
            self.collector.change_environments(self._build_environments(index))
        if stage.restart_optimizer:
            self.learner.restart_optimizer()
        if stage.restart_optimizer or stage.restart_lr_scheduler:
            first = now if stage.restart_lr_scheduler else self.learner.schedule.first_step
            self.learner.restart_schedule(first, now)
        self.progress.begin_stage(self._budget(stage))
        self._build_stage_parts(stage)
        self.sinks.note("pipeline/stage_begins", f"stage {index + 1} begins: {self.stage_name}", now)

    def _budget(self, stage: PipelineStage) -> int:
        steps = stage.max_stage_steps  # a function is called once, not by every worker
        budget = self.workers.from_first(int(steps() if callable(steps) else steps) if self.workers.is_first else 0)
        if budget < 1:
            raise ExperimentError(
                f"max_stage_steps of stage {self.stage_name!r} returned {budget}", "return at least 1"
            )
        return budget

    def _build_stage_parts(self, stage: PipelineStage) -> None:
        """What belongs to one stage alone: its criterion and its off-policy side."""
        self.criterion = StageCriterion(stage.early_stopping_criterion or NeverEarlyStoppingCriterion(), self.workers)
        self.off_policy = self._off_policy(self.progress.stage_index)

    def _off_policy(self, stage_index: int) -> NoOffPolicy:
        component = self.stages[stage_index].offpolicy_component
        if component is None:
            return NoOffPolicy()
        losses = self._weighted(component.loss_names, component.loss_weights)
        return OffPolicyUpdater(component, losses, self.model, self.learner, self.environments_per_worker, stage_index)

    def _runner(self, stage: PipelineStage) -> StageRunner:
        settings = self.pipeline.settings_of(stage)
        losses = self._weighted(stage.loss_names, stage.loss_weights)
        needs_expert = bool(who_asks_the_expert(stage, self.losses))
        self.collector.begin_stage(settings, stage.teacher_forcing, needs_expert)
        return StageRunner(
            name=self.stage_name,
            settings=settings,
            losses=losses,
            should_log=self.pipeline.should_log,
            progress=self.progress,
            collector=self.collector,
            rewards=self.rewards,
            learner=self.learner,
            off_policy=self.off_policy,
            criterion=self.criterion,
            validator=self.validator,
            failures=self.failures,
            metrics=self.metrics,
            sinks=self.sinks,
            workers=self.workers,
            steps_per_vector_step=self.experiment.num_envs,
            save=self.save,
            validated=self.note_validation,
            stop_requested=self.stop_requested,
        )

    def _weighted(self, names: Any, weights: Any) -> list[WeightedLoss]:
        return [
            WeightedLoss(name, float(weight), self.losses[name])
            for name, weight in zip(names, weights or [1.0] * len(names), strict=True)
        ]

    def _leave(self) -> None:
        """The stage is over."""
        self.progress.next_stage()

    def _build_environments(self, stage_index: int) -> Any:
        source, purpose = environment_of_stage(self.experiment, stage_index)
        own = self.experiment
        how = (own.environment_processes, own.environment_timeout, own.environment_groups)
        return build_environments(source, self.indices, self.seed, purpose, *how)

    def save(self) -> None:
        """Write a checkpoint of everything as it is now. Where the disk does not take it, warn and train on."""
        before, self.progress.last_save = self.progress.last_save, self.progress.total_steps
        try:
            self._write_checkpoint()
        except CheckpointError as error:
            self.progress.last_save = before  # so that it is tried again after the next rollout
            self.warn(f"no checkpoint at {self.progress.total_steps:,} steps: {error}")
            return
        if self.workers.is_first:
            retain(self.checkpoints, self.keep, self.warn, self.validator.waiting)

    def note_validation(self, total_steps: int) -> None:
        """Write into the checkpoint at so many steps what its validation has found: it may be the best."""
        if self.workers.is_first and total_steps < self.progress.total_steps:  # that of now is still to be written
            add_about(self.checkpoints / checkpoint_name(total_steps), self.validator.about(total_steps), self.warn)
            retain(self.checkpoints, self.keep, self.warn, self.validator.waiting)

    def _write_checkpoint(self) -> None:
        states = {name: part.state_dict() for name, part in self.parts().items()}
        own = {name: states.pop(name) for name in OF_EACH_WORKER}
        steps, ended = self.progress.total_steps, self.progress.stage_ended is not None
        about = {**self.about, **self.validator.about(steps), "experiment": self.description, "total_steps": steps}
        about |= {"stage": self.stage_name, "stage_index": self.progress.stage_index, "stage_ended": ended}
        model = self.model.state_dict()
        save_checkpoint(self.checkpoints, checkpoint_name(steps), model, states, own, about, self.workers)

    def restore(self, checkpoint: Checkpoint) -> list[str]:
        """Become what was saved. Returns what could not be restored, in words; nothing means bit-exact.

        Where the experiment has changed since then the experiment counts, and what it says nothing of goes on.
        """
        shared = checkpoint.shared()
        self.progress.load_state_dict(shared["progress"])
        index = min(self.progress.stage_index, len(self.stages) - 1)
        before = checkpoint.about.get("experiment", self.description)
        self.changes = list(changes(before, self.description))
        self.build(index)
        self._build_stage_parts(self.stages[index])
        load_model(self.model, checkpoint)
        anew = parts_begun_anew(self.changes, index)
        saved = {**shared, **own_states(checkpoint, self.workers, self.indices)}
        problems = [f"the experiment has changed, so this begins anew: {name}" for name in anew]
        for name, part in self.parts().items():
            if name in saved and name not in anew:
                problems += part.load_state_dict(saved[name]) or []
        if any(change.concerns("optimizer", "lr_scheduler") for change in self.changes):
            same = before["optimizer"]["build"] == self.description["optimizer"]["build"]
            self.learner.go_on_with_new_settings(saved["learner"], self.progress.total_steps, same)
        if budget_of(before, index) != budget_of(self.description, index):
            self.progress.change_budget(self._budget(self.stages[index]))
        return problems + self.criterion.problems

    @property
    def has_changed(self) -> bool:
        """Whether the experiment would train otherwise than when the checkpoint was written."""
        return any(change.kind == CHANGES_TRAINING for change in self.changes)

    def close(self) -> None:
        """Release environments and sinks."""
        if hasattr(self, "collector"):
            self.validator.close()
            self.collector.environments.close()
        self.sinks.close()
