"""StageRunner: the loop of one stage. Read this first."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Sequence

from ..metrics import LoggingPackage, ScalarMeanTracker
from ..settings import ResolvedSettings
from .collecting.collector import RolloutCollector
from .collecting.failures import FailureBudget
from .collecting.reward_normalizer import RawRewards
from .early_stopping import StageCriterion
from .learning.learner import Learner, WeightedLoss
from .learning.off_policy import NoOffPolicy
from .playing.evaluation import EvaluationStopped
from .playing.validation import NoValidation
from .progress import STEPS_TAKEN, STOPPED_EARLY, Progress
from .reporting.reporting import MetricSink
from .reporting.stopwatch import Stopwatch
from .workers.workers import WorkerGroup


class StageRunner:
    """Trains one stage: collect, returns, learn, off-policy, count, report, validate, save, until it has ended.

    * save: writes a checkpoint; it only reads.
    * validated: told that the model at so many total steps was validated.
    * stop_requested: whether this worker was asked to save and leave.
    """

    def __init__(
        self,
        *,
        name: str,
        settings: ResolvedSettings,
        losses: Sequence[WeightedLoss],
        should_log: bool,
        progress: Progress,
        collector: RolloutCollector,
        rewards: RawRewards,
        learner: Learner,
        off_policy: NoOffPolicy,
        criterion: StageCriterion,
        validator: NoValidation,
        failures: FailureBudget,
        metrics: ScalarMeanTracker,
        sinks: MetricSink,
        workers: WorkerGroup,
        steps_per_vector_step: int,
        save: Callable[[], object],
        validated: Callable[[int], object],
        stop_requested: Callable[[], bool],
    ) -> None:
        self.name, self.settings, self.losses, self.should_log = name, settings, losses, should_log
        self.progress, self.collector, self.rewards, self.learner = progress, collector, rewards, learner
        self.off_policy, self.criterion, self.metrics, self.sinks = off_policy, criterion, metrics, sinks
        self.failures, self.validator = failures, validator
        self.workers, self.steps_per_vector_step = workers, steps_per_vector_step
        self.save, self.validated, self.stop_requested = save, validated, stop_requested
        self.stopwatch = Stopwatch()

    def run(self) -> bool:
        """Train until the stage has ended (True) or somebody asked to stop (False). Either way all is saved."""
        progress, settings, watch = self.progress, self.settings, self.stopwatch
        self._interval_began_at = progress.total_steps

        goes_on = True
        if self.validator.is_underway:
            self.validator.go_on()
            goes_on = self._settle()  # what a stop request had cut short

        while goes_on and progress.stage_ended is None:
            with watch.phase("collect"):
                rollout = self.collector.collect(progress.rollouts, progress.stage_steps, self.steps_per_vector_step)
                steps = sum(self.workers.gather(rollout.steps))
                self.collector.report_to(self.metrics)
                self.failures.note(self.collector.pop_failures(), progress.total_steps + steps)

            with watch.phase("returns"):
                self.rewards.normalize(rollout, settings.gamma, self.workers)
                rollout.compute_returns(settings, self.workers)
                self.metrics.add_scalars({"train/explained_variance": rollout.explained_variance()})

            with watch.phase("learn"):
                stage_steps = progress.stage_steps + steps
                self._note(self.learner.update(rollout, self.losses, settings, progress.rollouts, stage_steps))
                self.learner.update_normalizers(rollout)

            with watch.phase("off_policy"):
                self._note(self.off_policy.update(settings, stage_steps))

            # count
            progress.count_rollout(steps)
            self.metrics.add_scalars({"train/learning_rate": self.learner.learning_rate})
            self.learner.schedule.advance(progress.total_steps)
            if progress.scenes_are_due(settings):
                self.collector.advance_scenes()

            goes_on = self._settle()
        return progress.stage_ended is not None and not self.validator.is_underway

    def _settle(self) -> bool:
        """Report, validate, save. False: somebody asked to stop, who waits for no validation: what that cuts short
        here is done when the run goes on."""
        progress, settings, watch = self.progress, self.settings, self.stopwatch
        with contextlib.suppress(EvaluationStopped):
            # report
            if progress.stage_ended is None and progress.report_is_due(settings):
                if self.validator.last_steps <= progress.last_report:  # it has had this whole interval's time
                    self._take_validation()
                self._close_interval()

            # validate
            if self.validator.is_due(settings):
                self._take_validation()
                with watch.phase("validate"):
                    self.validator.begin()
            if progress.stage_ended is not None:
                self._take_validation()

        # save
        stop = self.workers.any(self.stop_requested())
        is_validated = self.validator.last_steps == progress.total_steps
        if progress.save_is_due(settings) or ((stop or is_validated) and settings.save_interval is not None):
            with watch.phase("save"):
                self.save()
        return not stop

    def _take_validation(self) -> None:
        """What the validation that is under way, if there is one, has found → sinks, its checkpoint."""
        with self.stopwatch.phase("validate"):
            package = self.validator.take(self.name, self.should_log, self.stop_requested)
        if package is not None:
            self.sinks.write(package)
            self.validated(package.total_steps)

    def _note(self, means: dict[str, tuple[float, float]]) -> None:
        self.metrics.add_scalars(
            {tag: mean for tag, (mean, _) in means.items()}, {tag: weight for tag, (_, weight) in means.items()}
        )

    def _close_interval(self) -> None:
        """Means of all workers → sinks → early-stopping criterion → one decision for all."""
        progress = self.progress
        interval = ScalarMeanTracker()
        for own in self.workers.gather(self.metrics.sums_and_counts()):
            interval.add_sums_and_counts(own)
        self.metrics.pop_and_reset()
        self._report(interval)
        progress.last_report = progress.total_steps
        self.learner.schedule.observe(interval.means())
        explanation = self.criterion.ask(progress, self.validator.shown_with(interval))
        if progress.budget_is_spent():
            progress.end_stage(self.name, STEPS_TAKEN, "")
        elif explanation is not None:
            progress.end_stage(self.name, STOPPED_EARLY, explanation)
        if progress.stage_ended is not None:
            self._report_end()  # before it is saved: what comes after that is cut off when the run is resumed

    def _report_end(self) -> None:
        index, record = self.progress.stage_index, self.progress.stages[-1]
        text = f"stage {index + 1} ended after {record['steps']:,} steps: {record['reason']}"
        explanation = f" ({record['explanation']})" if record["explanation"] else ""
        self.sinks.note("pipeline/stage_ends", f"{self.name}: {text}{explanation}", self.progress.total_steps)

    def _report(self, interval: ScalarMeanTracker) -> None:
        progress = self.progress
        seconds, shares = self.stopwatch.lap()
        progress.seconds += seconds
        shares["environment"] = self.collector.pop_environment_seconds() / seconds
        steps = progress.total_steps - self._interval_began_at
        self._interval_began_at = progress.total_steps
        speed = {"steps_per_second": steps / seconds, **shares}
        means, counts = interval.means(), interval.counts()
        if restarts := sum(self.workers.gather(self.failures.total)):
            means["environment/restarts"] = restarts
        self.sinks.write(
            LoggingPackage(
                kind="train",
                stage=self.name,
                stage_index=progress.stage_index,
                total_steps=progress.total_steps,
                stage_steps=progress.stage_steps,
                means={**means, **{f"speed/{name}": value for name, value in speed.items()}},
                counts=counts,
                wall_seconds=seconds,
                should_log=self.should_log,
            )
        )
