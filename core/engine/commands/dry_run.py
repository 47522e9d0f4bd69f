"""A rehearsal of an experiment: everything is built, every stage collects and learns once, nothing is written."""

from __future__ import annotations

import resource
import sys
import time
from dataclasses import asdict, dataclass
from typing import Any

import gymnasium
import numpy as np
import torch
from torch import nn

from ...experiment import Experiment
from ...metrics import LoggingPackage
from ...pipeline import PipelineStage
from ...tree import flatten
from ..building import threads_for
from ..environments import Environments, Episode, Row, action_layout, allocate, observation_layout, to_environment
from ..environments.spaces import from_environment
from ..reporting.reporting import NoSink, Sinks
from ..saving.checkpoint_content import encode_model, encode_state
from ..trainer import Trainer
from ..workers.workers import SingleWorker

EXPERT_EPISODES = 20
EXPERT_STEPS = 1000


@dataclass(frozen=True)
class ExpertReport:
    """What an expert does on its own; where it has no action a random one is taken.

    * available: share of the steps for which it had an action.
    * episodes: how many ended while it played; mean_return: of these, None if there were none.
    * success: share of these that succeeded, None if the environments do not say; `wrappers.SuccessMetric` does.
    """

    available: float
    episodes: int
    mean_return: float | None
    success: float | None


@dataclass(frozen=True)
class StageReport:
    """One rollout of a stage, with all the updates that follow it.

    * max_stage_steps: the stage's budget, also where a function says it.
    * environments: which processes step them, in words.
    * steps, steps_per_second: of the rollout, over all environments. means: tag -> mean, as training would log it.
    * expert: None if the stage asks none.
    """

    name: str
    max_stage_steps: int
    environments: str
    steps: int
    steps_per_second: float
    means: dict[str, float]
    expert: ExpertReport | None

    @property
    def seconds(self) -> float:
        """The time the whole stage takes at this speed, if it is not stopped early."""
        return self.max_stage_steps / self.steps_per_second


@dataclass(frozen=True)
class DryRun:
    """What a training of this experiment would be like on this machine.

    * observations: path in the observation ("" if it is one array) -> shape and type.
    * parameters: numbers that are trained. checkpoint_bytes: size of one checkpoint.
    * peak_memory_bytes: the most memory this process has had so far.
    * threads: with which it learns.
    """

    observation_space: str
    observations: dict[str, str]
    action_space: str
    parameters: int
    checkpoint_bytes: int
    peak_memory_bytes: int
    threads: int
    stages: list[StageReport]

    @property
    def seconds(self) -> float:
        """The time the pipeline takes at the speeds measured, if no stage is stopped early."""
        return sum(stage.seconds for stage in self.stages)

    def to_json(self) -> dict[str, Any]:
        """Everything, as JSON can hold it."""
        stages = [{**asdict(stage), "seconds": stage.seconds} for stage in self.stages]
        return {**asdict(self), "stages": stages, "seconds": self.seconds}


def dry_run(experiment: Experiment, seed: int, device: torch.device) -> DryRun:
    """Rehearse every stage. Raises what training would raise, `ExperimentError` above all."""
    rehearsal = _Rehearsal(experiment, seed, device, SingleWorker())
    try:
        rehearsal.build()
        rehearsal.train()
        return rehearsal.report()
    finally:
        rehearsal.close()


class _Rehearsal(Trainer):
    """A trainer whose stages are over after one rollout (the first one's after two: one to warm up)."""

    def __post_init__(self) -> None:
        super().__post_init__()
        self._packages: list[LoggingPackage] = []
        self._budgets: list[int] = []
        self._clock: list[float] = []
        self._seconds: list[float] = []
        self._where: list[str] = []
        self.sinks = Sinks([_Notebook(self._packages)])
        self.stop_requested = self._note_time

    def build(self, stage_index: int = 0) -> None:
        """Learn with as many threads as a training would."""
        super().build(stage_index)
        threads = threads_for(self.experiment, self.model, self.collector.observation_bytes())
        self.learner.threads = self.collector.threads = threads

    def _budget(self, stage: PipelineStage) -> int:
        self._budgets.append(super()._budget(stage))
        rollout = self.pipeline.settings_of(stage).num_steps * self.experiment.num_envs
        return rollout + 1 if self.progress.stage_index == 0 else 1

    def _begin(self, stage: PipelineStage) -> None:
        super()._begin(stage)
        self._note_time()

    def _note_time(self) -> bool:
        """After each rollout. Nobody wants to stop."""
        self._clock.append(time.perf_counter())
        return False

    def _leave(self) -> None:
        self._seconds.append(self._clock[-1] - self._clock[-2])
        self._where.append(self.collector.environments.where)
        super()._leave()

    def save(self) -> None:
        """Nothing is written."""

    def report(self) -> DryRun:
        """What was found. The experts play now."""
        environments = self.collector.environments
        observations = flatten(observation_layout(environments.observation_space))
        return DryRun(
            observation_space=_in_words(environments.observation_space),
            observations={path: f"{leaf.dtype} {leaf.shape}" for path, leaf in observations.items()},
            action_space=_in_words(environments.action_space),
            parameters=sum(parameter.numel() for parameter in self.learner.parameters),
            checkpoint_bytes=self._checkpoint_bytes(self.model),
            peak_memory_bytes=_peak_memory(),
            threads=self.learner.threads,
            stages=[self._stage_report(index) for index in range(len(self.stages))],
        )

    def _stage_report(self, index: int) -> StageReport:
        steps = self.pipeline.settings_of(self.stages[index]).num_steps * self.experiment.num_envs
        package = next(package for package in reversed(self._packages) if package.stage_index == index)
        asks_expert = "teacher_forcing/expert_available" in package.means
        return StageReport(
            name=self.stage_names[index],
            max_stage_steps=self._budgets[index],
            environments=self._where[index],
            steps=steps,
            steps_per_second=steps / max(self._seconds[index], 1e-9),
            means={tag: mean for tag, mean in package.to_json()["means"].items() if not tag.startswith("speed/")},
            expert=self._expert_report(index) if asks_expert else None,
        )

    def _expert_report(self, index: int) -> ExpertReport:
        environments = self._build_environments(index)
        try:
            return play_expert(environments, self.seed)
        finally:
            environments.close()

    def _checkpoint_bytes(self, model: nn.Module) -> int:
        states = {name: part.state_dict() for name, part in self.parts().items()}
        return len(encode_model(model.state_dict())) + len(encode_state(states))


def play_expert(environments: Environments, seed: int) -> ExpertReport:
    """Let the expert play until `EXPERT_EPISODES` have ended, at most `EXPERT_STEPS` in each environment."""
    space, n = environments.action_space, environments.num_envs
    space.seed(seed)
    observations = allocate(observation_layout(environments.observation_space), n)
    row = Row(np.zeros(n, np.float32), np.zeros(n, bool), np.zeros(n, bool), np.ones(n, bool), observations)
    actions, has_action = allocate(action_layout(space), n), np.zeros(n, bool)
    act = to_environment(space)
    environments.reset(observations)
    episodes: list[Episode] = []
    asked = answered = 0
    while len(episodes) < EXPERT_EPISODES and asked < EXPERT_STEPS * n:
        environments.expert_actions(actions, has_action)
        for i in np.flatnonzero(~has_action):
            actions[i] = from_environment(space, space.sample())
        asked, answered = asked + n, answered + int(has_action.sum())
        row.terminated[:], row.truncated[:], row.valid[:] = False, False, True
        ends = environments.step(act(actions), row)
        episodes += [end.episode for end in ends if end.episode is not None]
    returns = [episode.episode_return for episode in episodes]
    successes = [episode.metrics["success"] for episode in episodes if "success" in episode.metrics]
    return ExpertReport(answered / asked, len(episodes), _mean(returns), _mean(successes))


def _mean(values: list[float]) -> float | None:
    return float(np.mean(values)) if values else None


class _Notebook(NoSink):
    """Keeps the intervals that were closed."""

    def __init__(self, packages: list[LoggingPackage]) -> None:
        self.packages = packages

    def write(self, package: LoggingPackage) -> None:
        """One more."""
        self.packages.append(package)


def _in_words(space: gymnasium.Space[Any]) -> str:
    """The space on one line; of a Box only its shape and type, for its bounds may be long."""
    if isinstance(space, gymnasium.spaces.Box):
        return f"Box({space.shape}, {space.dtype})"
    if isinstance(space, gymnasium.spaces.Dict):
        return f"Dict({', '.join(f'{name}: {_in_words(part)}' for name, part in space.items())})"
    return " ".join(str(space).split())


def _peak_memory() -> int:
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024
