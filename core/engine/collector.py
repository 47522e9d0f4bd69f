"""RolloutCollector: a model and environments → a filled Rollout."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from ..batch import Memory
from ..distributions import as_action_distribution, sampling_noise
from ..errors import ExperimentError
from ..metrics import ScalarMeanTracker
from ..settings import ResolvedSettings
from ..tree import Tree, leaves, map_tree
from .acting import AS_EVER, actor_of
from .device import threads
from .environments import (
    Environments,
    Episode,
    EpisodeEnd,
    Failure,
    allocate,
    observation_layout,
    to_environment,
    writer,
)
from .products import SmallConvolutionsAsProducts
from .rollout import Rollout
from .seeding import stream


class FinalObservation(NamedTuple):
    """The last observation of an episode that was truncated at step t, and the memory the model had then."""

    t: int
    environment: int
    observation: Tree
    memory: Memory


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
        self._rewritten = AS_EVER
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
        self._to_environment = to_environment(environments.action_space)
        self.observations = allocate(observation_layout(environments.observation_space), environments.num_envs)
        self.masks = np.zeros(environments.num_envs, np.float32)
        self.memory = initial_memory(self.model, environments.num_envs, self.device)
        self.actor = actor_of(self.model, environments.num_envs, self.device, self._rewritten)

    def compile(self) -> None:
        """From the next rollout on compute what gives the same numbers up to rounding, sooner."""
        self._rewritten = SmallConvolutionsAsProducts()
        self.actor = actor_of(self.model, self.environments.num_envs, self.device, self._rewritten)

    def begin_stage(
        self, settings: ResolvedSettings, teacher_forcing: Callable[[int], float] | None, needs_expert: bool
    ) -> None:
        """From the next rollout on: these settings, this teacher (None: none)."""
        self._teacher_forcing = teacher_forcing or _never
        self._needs_expert = needs_expert
        if self._rollout is None or self._rollout.num_steps != settings.num_steps:
            self._rollout = Rollout(settings.num_steps, self.environments.num_envs, self._spaces, self.device)

    def collect(self, rollout_index: int, stage_steps: int, steps_per_vector_step: int) -> Rollout:
        """One rollout: what each environment did, with the values and log-probabilities the losses need.

        * rollout_index: rollouts of the run so far; the noise is keyed by it.
        * stage_steps: steps of the stage so far; steps_per_vector_step: environments of all workers together.
        """
        assert self._rollout is not None, "begin_stage comes first"
        rollout = self._rollout
        rollout.begin(self.observations, self.masks, self.memory)
        finals = self._act(rollout, rollout_index, stage_steps, steps_per_vector_step)
        self._remember(rollout)
        rollout.finish(self._needs_expert)
        with threads(self.threads), self._rewritten:
            self._evaluate(rollout, finals)
        return rollout

    @torch.inference_mode()
    def _act(
        self, rollout: Rollout, rollout_index: int, stage_steps: int, steps_per_vector_step: int
    ) -> list[FinalObservation]:
        self._probabilities = []
        self.actor.begin(self._noise(rollout, rollout_index), self.device)
        teacher_noise = self._teacher_noise(rollout, rollout_index)
        finals: list[FinalObservation] = []
        seconds = 0.0
        for t, row in enumerate(rollout.rows):
            rollout.host_actions[t], self.memory = self.actor.act(rollout, t, self.memory)
            if self._needs_expert:
                self._ask_expert(rollout, t, teacher_noise[t], stage_steps + t * steps_per_vector_step)
            started = time.perf_counter()
            ends = self.environments.step(self._to_environment(rollout.host_actions[t]), row)
            seconds += time.perf_counter() - started
            # after a step that an autoreset inserted the episode begins, whatever the model saw in between
            rollout.host_masks[t + 1] = row.valid
            for end in ends:
                self._end_episode(rollout, t, end, finals)
            rollout.upload(t + 1)
        self.environment_seconds += seconds
        return finals

    def _end_episode(self, rollout: Rollout, t: int, end: EpisodeEnd, finals: list[FinalObservation]) -> None:
        rollout.host_masks[t + 1, end.environment] = 0.0
        self.failures += end.failures
        if end.episode is not None:
            self.episodes.append(end.episode)
        else:
            rollout.invalidate_episode(t, end.environment)
        if end.final_observation is not None:
            memory = None if self.memory is None else self.memory[end.environment]
            finals.append(FinalObservation(t, end.environment, end.final_observation, memory))

    def change_environments(self, environments: Environments) -> None:
        """Close the environments and begin episodes in these instead."""
        if environments.observation_space != self._spaces[0] or environments.action_space != self._spaces[1]:
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
        self.memory = None if state["memory"] is None else state["memory"].to(self.device)
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

    def _ask_expert(self, rollout: Rollout, t: int, noise: np.ndarray, stage_steps: int) -> None:
        expert, available = rollout.host_expert_actions[t], rollout.host_flags["has_expert"][t]
        self.environments.expert_actions(expert, available)
        probability = self._teacher_forcing(stage_steps)
        self._probabilities.append(probability)
        forced = available & (noise < probability)
        rollout.host_flags["teacher_forced"][t] = forced
        rollout.host_actions[t][forced] = expert[forced]

    def _remember(self, rollout: Rollout) -> None:
        map_tree(lambda to, rows: np.copyto(to, rows[-1]), self.observations, rollout.host_observations)
        self.masks = rollout.host_masks[-1].copy()

    @torch.no_grad()
    def _evaluate(self, rollout: Rollout, finals: list[FinalObservation]) -> None:
        """Values and log-probabilities of the whole rollout at once: the parameters have not moved since."""
        fields = rollout.fields
        known = None if self._needs_expert else self.actor.evaluated()  # an expert's actions are not the actor's
        evaluate = self._evaluate_steps if rollout.first_memory is None else self._evaluate_sequences
        fields["values"], fields["log_probs"] = known or evaluate(rollout)
        fields["bootstrap_value"] = self.model(rollout.step_observations[-1], self.memory, rollout.step_masks[-1])[1][0]
        fields["final_values"] = torch.zeros_like(fields["values"])
        if finals:
            steps, environments = [final.t for final in finals], [final.environment for final in finals]
            fields["final_values"][steps, environments] = self._values_of(finals)

    def _evaluate_steps(self, rollout: Rollout) -> tuple[Tensor, Tensor]:
        shape = (rollout.num_steps, rollout.num_envs)
        observations = map_tree(lambda leaf: leaf[:-1].flatten(0, 1), rollout.observations)
        actions, masks = rollout.fields["actions"].flatten(0, 1), rollout.masks[:-1].flatten()
        # parts that stay in the cache: for images one big batch takes twice the time for each of them
        size = int(np.clip(2**21 // max(rollout.observation_bytes(), 1), 64, 4096))
        # made beforehand: small results between large intermediate ones would leave the memory full of holes
        values, log_probs = masks.new_empty(len(masks)), masks.new_empty(len(masks))
        for start in range(0, len(masks), size):
            part = slice(start, start + size)
            own = map_tree(lambda leaf, part=part: leaf[None, part], observations)
            distribution, value, _ = self.model(own, None, masks[None, part])
            values[part] = value[0]
            log_probs[part] = as_action_distribution(distribution).log_prob(actions[None, part])[0]
        return values.view(shape), log_probs.view(shape)

    def _evaluate_sequences(self, rollout: Rollout) -> tuple[Tensor, Tensor]:
        observations = map_tree(lambda leaf: leaf[:-1], rollout.observations)
        distribution, values, _ = self.model(observations, rollout.first_memory, rollout.masks[:-1])
        return values, as_action_distribution(distribution).log_prob(rollout.fields["actions"])

    def _values_of(self, finals: list[FinalObservation]) -> Tensor:
        layout = observation_layout(self._spaces[0])  # the types that the model sees while acting
        rows, write = allocate(layout, len(finals)), writer(layout)
        for row, final in enumerate(finals):
            write(rows, row, final.observation)
        observations = map_tree(lambda leaf: torch.from_numpy(leaf[None]).to(self.device), rows)
        memory = None if self.memory is None else torch.stack([final.memory for final in finals])  # type: ignore[misc]
        values: Tensor = self.model(observations, memory, torch.ones(1, len(finals), device=self.device))[1][0]
        return values


def initial_memory(model: nn.Module, num_envs: int, device: torch.device) -> Memory:
    """The memory the model begins with; None for a model that has none or does not say."""
    make: Any = getattr(model, "initial_memory", None)
    memory = make(num_envs) if make is not None else None
    return None if memory is None else memory.to(device)


def _never(steps: int) -> float:
    return 0.0
