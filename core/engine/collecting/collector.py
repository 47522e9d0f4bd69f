"""RolloutCollector: a model and environments → a filled Rollout."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from ...batch import Memory
from ...distributions import sampling_noise
from ...errors import ExperimentError
from ...metrics import ScalarMeanTracker
from ...settings import ResolvedSettings
from ...tree import leaves, map_tree
from ..device import threads
from ..environments import (
    Environments,
    Episode,
    EpisodeEnd,
    Failure,
    allocate,
    is_same_space,
    observation_layout,
)
from ..learning.compiler import Compiler, NoCompiler
from ..seeding import stream
from .acting_group import ActingGroup
from .rollout import Rollout
from .rollout_values import FinalObservation, fill_in_values


class RolloutCollector:
    """Acts in the environments with the model as it is, and remembers where it stopped.

    * indices: global indices of the environments; the streams of noise are keyed by them.
    """

    def __init__(
        self, model: nn.Module, environments: Environments, indices: range, seed: int, device: torch.device
    ) -> None:
        self.model, self.device, self.seed = model, device, seed
        self.indices = indices
        self.threads = 1
        self._compiler: Compiler = NoCompiler()
        self.episodes: list[Episode] = []
        self.failures: list[Failure] = []
        self.environment_seconds = 0.0
        self._probabilities: list[float] = []
        self._needs_expert = False
        self._rollout: Rollout | None = None
        self.use(environments)
        self.environments.reset(self.observations)

    def use(self, environments: Environments) -> None:
        """Continue in these environments; they must be reset or restored before the next `collect`."""
        self.environments = environments
        self._spaces = (environments.observation_space, environments.action_space)
        self.observations = allocate(observation_layout(environments.observation_space), environments.num_envs)
        self.masks = np.zeros(environments.num_envs, np.float32)
        self.groups = [
            ActingGroup(own, part, self.model, self.device, self._compiler) for own, part in environments.groups
        ]
        self._use_rollout()

    def compile(self, compiler: Compiler) -> None:
        """From the next rollout on act with what gives the same numbers up to rounding, sooner."""
        self._compiler = compiler
        for group in self.groups:
            group.use_actor(compiler)

    def _use_rollout(self) -> None:
        if self._rollout is not None:
            for group in self.groups:
                group.write_to(self._rollout)

    @property
    def memory(self) -> Memory:
        """The model's, of all environments (N, …); None for a model without."""
        own = [group.memory for group in self.groups if group.memory is not None]
        return torch.cat(own) if own else None

    def begin_stage(
        self, settings: ResolvedSettings, teacher_forcing: Callable[[int], float] | None, needs_expert: bool
    ) -> None:
        """From the next rollout on: these settings, this teacher (None: none)."""
        self._teacher_forcing = teacher_forcing or _never
        self._needs_expert = needs_expert
        if self._rollout is None or self._rollout.num_steps != settings.num_steps:
            self._rollout = Rollout(settings.num_steps, self.environments.num_envs, self._spaces, self.device)
        self._use_rollout()

    def collect(self, rollout_index: int, stage_steps: int, steps_per_vector_step: int) -> Rollout:
        """One rollout: what each environment did, with the values and log-probabilities the losses need.

        * rollout_index: rollouts of the run so far; the noise is keyed by it.
        * stage_steps: steps of the stage so far; steps_per_vector_step: environments of all workers together.
        """
        assert self._rollout is not None, "begin_stage comes first"
        rollout = self._rollout
        rollout.begin(self.observations, self.masks, self.memory)
        noise = self._noise(rollout, rollout_index)
        for group in self.groups:
            group.begin(noise)
        finals = self._act(rollout, rollout_index, stage_steps, steps_per_vector_step)
        self._remember(rollout)
        rollout.finish(self._needs_expert)
        with threads(self.threads):
            self._evaluate(rollout, finals)
        return rollout

    @torch.inference_mode()
    def _act(
        self, rollout: Rollout, rollout_index: int, stage_steps: int, steps_per_vector_step: int
    ) -> list[FinalObservation]:
        """Take the steps of the rollout. While a group is acted for, the others take theirs."""
        self._probabilities = []
        teacher_noise = self._teacher_noise(rollout, rollout_index)
        finals: list[FinalObservation] = []
        self._ask_experts(self.groups)
        for t in range(rollout.num_steps + 1):
            for group in self.groups:
                if t > 0:
                    self._end_step(rollout, group, t - 1, finals)
                if t < rollout.num_steps:
                    group.act(t)
                    if self._needs_expert:
                        self._hear_expert(group, t, teacher_noise[t], stage_steps + t * steps_per_vector_step)
                    self._begin_step(group, t)
                    if t + 1 < rollout.num_steps:
                        self._ask_experts([group])
        return finals

    def _ask_experts(self, groups: Sequence[ActingGroup]) -> None:
        """They think while the model does."""
        if self._needs_expert:
            for group in groups:
                group.environments.ask_experts()

    def _begin_step(self, group: ActingGroup, t: int) -> None:
        started = time.perf_counter()
        group.begin_step(t)
        self.environment_seconds += time.perf_counter() - started

    def _end_step(self, rollout: Rollout, group: ActingGroup, t: int, finals: list[FinalObservation]) -> None:
        started = time.perf_counter()
        ends = group.end_step(t)
        self.environment_seconds += time.perf_counter() - started
        for end in ends:
            self._end_episode(rollout, group, t, end, finals)
        rollout.upload(t + 1, group.part)

    def _end_episode(
        self, rollout: Rollout, group: ActingGroup, t: int, end: EpisodeEnd, finals: list[FinalObservation]
    ) -> None:
        rollout.host_masks[t + 1, end.environment] = 0.0
        self.failures += end.failures
        if end.episode is not None:
            self.episodes.append(end.episode)
        else:
            rollout.invalidate_episode(t, end.environment)
        if end.final_observation is not None:
            memory = None if group.memory is None else group.memory[end.environment - group.part.start]
            finals.append(FinalObservation(t, end.environment, end.final_observation, memory))

    def change_environments(self, environments: Environments) -> None:
        """Close the environments and begin episodes in these instead."""
        if not (
            is_same_space(environments.observation_space, self._spaces[0])
            and is_same_space(environments.action_space, self._spaces[1])
        ):
            found = (environments.observation_space, environments.action_space)
            raise ExperimentError(
                f"the stage's environments have the spaces {found}, those before had {self._spaces}",
                "one model acts in all stages: their spaces must be equal",
            )
        self.environments.close()
        self.use(environments)
        self.environments.reset(self.observations)

    def advance_scenes(self) -> None:
        """New scenes and new episodes everywhere; running episodes count as truncated."""
        self.episodes += self.environments.advance_scenes(self.observations)
        self.masks[:] = 0.0

    def steps_per_rollout(self) -> int:
        """Steps of all environments here, inserted ones included."""
        return 0 if self._rollout is None else self._rollout.num_steps * self._rollout.num_envs

    def observation_bytes(self) -> int:
        """Size of one environment's observation."""
        return sum(leaf[0].nbytes for leaf in leaves(self.observations))

    def pop_environment_seconds(self) -> float:
        """Seconds spent in the environments since this was last asked."""
        seconds, self.environment_seconds = self.environment_seconds, 0.0
        return seconds

    def pop_failures(self) -> list[Failure]:
        """The failures of environments since this was last asked; those environments have been replaced."""
        failures, self.failures = self.failures, []
        return failures

    def report_to(self, metrics: ScalarMeanTracker) -> None:
        """Add the episodes that have ended and what the teacher did in the last rollout."""
        for episode in self.episodes:
            scalars = {"return": episode.episode_return, "length": episode.length, **episode.metrics}
            metrics.add_scalars({f"episode/{name}": value for name, value in scalars.items()})
        self.episodes.clear()
        if self._needs_expert and self._rollout is not None:
            valid = self._rollout.host_flags["valid"]
            for tag, flags in (("rate", "teacher_forced"), ("expert_available", "has_expert")):
                share = self._rollout.host_flags[flags][valid].mean()
                metrics.add_scalars({f"teacher_forcing/{tag}": share}, int(valid.sum()))
            metrics.add_scalars({"teacher_forcing/probability": np.mean(self._probabilities)}, int(valid.sum()))

    def state_dict(self) -> dict[str, Any]:
        """Where the environments are, what was last seen of them, the model's memory, and episodes not yet reported."""
        return {
            "environments": self.environments.state_dict(),
            "episodes": [list(episode) for episode in self.episodes],
            "observations": map_tree(torch.from_numpy, self.observations),
            "masks": torch.from_numpy(self.masks),
            "memory": self.memory,
        }

    def load_state_dict(self, state: dict[str, Any]) -> list[str]:
        """Go on from there. Returns what could not be restored, in words; there new episodes have begun."""
        self.episodes = [Episode(*episode) for episode in state.get("episodes", [])]
        problems = self.environments.load_state_dict(state["environments"], self.observations)
        if problems:
            return problems
        self.masks = state["masks"].numpy()
        for group in self.groups:
            group.memory = None if state["memory"] is None else state["memory"][group.part].to(self.device)
        same = map_tree(lambda now, then: np.array_equal(now, then.numpy()), self.observations, state["observations"])
        if all(leaves(same)):
            return []
        return ["after replaying its actions an environment shows another observation than it did when saved"]

    def _noise(self, rollout: Rollout, rollout_index: int) -> np.ndarray:
        """For sampling, (T, N, n)."""
        each = [
            sampling_noise(self._spaces[1], stream(self.seed, "actions", index, rollout_index), rollout.num_steps)
            for index in self.indices
        ]
        return np.stack(each, axis=1)

    def _teacher_noise(self, rollout: Rollout, rollout_index: int) -> np.ndarray:
        if not self._needs_expert:
            return np.empty((rollout.num_steps, 0))
        draws = [
            stream(self.seed, "teacher forcing", index, rollout_index).random(rollout.num_steps)
            for index in self.indices
        ]
        return np.stack(draws, axis=1)

    def _hear_expert(self, group: ActingGroup, t: int, noise: np.ndarray, stage_steps: int) -> None:
        columns = group.columns
        expert, available = columns.host_expert_actions[t], columns.host_flags["has_expert"][t]
        group.environments.expert_actions(expert, available)
        probability = self._teacher_forcing(stage_steps)
        self._probabilities.append(probability)
        forced = available & (noise[group.part] < probability)
        columns.host_flags["teacher_forced"][t] = forced
        columns.host_actions[t][forced] = expert[forced]

    def _remember(self, rollout: Rollout) -> None:
        map_tree(lambda to, rows: np.copyto(to, rows[-1]), self.observations, rollout.host_observations)
        self.masks = rollout.host_masks[-1].copy()

    def _evaluate(self, rollout: Rollout, finals: list[FinalObservation]) -> None:
        fill_in_values(rollout, self.model, self.memory, finals, self._known(rollout.fields["actions"]))

    def _known(self, actions: Tensor) -> tuple[Tensor, Tensor] | None:
        """What the actors have found while acting; an expert's actions are not theirs."""
        found = [group.actor.evaluated(actions[:, group.part], not self._needs_expert) for group in self.groups]
        own = [one for one in found if one is not None]
        if len(own) < len(found):
            return None
        values, log_probs = zip(*own, strict=True)
        return torch.cat(values, dim=1), torch.cat(log_probs, dim=1)


def _never(steps: int) -> float:
    return 0.0
