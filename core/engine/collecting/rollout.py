"""Rollout: num_steps steps of every environment in preallocated memory, and the minibatches of it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ...batch import Memory
from ...settings import ResolvedSettings
from ...tree import Tree, leaves, map_tree
from ..environments import Row, action_layout, allocate, observation_layout
from ..learning.minibatch import Minibatch
from ..workers.workers import WorkerGroup
from .returns import discounted_returns, generalized_advantages, next_values
from .shown import EVERYTHING, shown_to


class Rollout:
    """T steps of N environments. Environments write into NumPy arrays; the tensors here are the same memory.

    On a GPU what is shown goes over step by step as it is needed for acting, and the rest goes over once, in `finish`.

    observations: tree of (T + 1, N, …); masks (T + 1, N): 0 where an episode begins at that step; everything else
    (T, N, …), as in `Batch`. first_memory: (N, …) or None.
    """

    def __init__(self, num_steps: int, num_envs: int, spaces: tuple[Any, Any], device: torch.device) -> None:
        self.observation_space, action_space = spaces
        self.num_steps, self.num_envs, self.device = num_steps, num_envs, device
        action = action_layout(action_space)
        self._shown = shown_to(device, observation_layout(self.observation_space), num_steps + 1, num_envs)
        self.host_observations, self.host_masks = self._shown.host_observations, self._shown.host_masks
        self.observations, self.masks = self._shown.observations, self._shown.masks
        self.host_actions: np.ndarray = allocate(action, num_steps, num_envs)
        self.host_expert_actions: np.ndarray = allocate(action, num_steps, num_envs)
        self.host_flags = {
            name: np.zeros((num_steps, num_envs), bool)
            for name in ("terminated", "truncated", "valid", "has_expert", "teacher_forced")
        }
        self.host_rewards = np.zeros((num_steps, num_envs), np.float32)
        self.first_memory: Memory = None
        self.fields: dict[str, Tensor] = {}
        self.everything_is_valid = True

    def _on_device(self, array: np.ndarray) -> Tensor:
        """The same memory, or on a GPU a copy, which nobody waits for."""
        host = torch.from_numpy(array)
        return host if self.device.type == "cpu" else host.pin_memory().to(self.device, non_blocking=True)

    def begin(self, observations: Tree, masks: np.ndarray, memory: Memory) -> None:
        """Start over: the first observations (N, …), their masks (N,) and the memory before them."""
        map_tree(lambda to, first: np.copyto(to[0], first), self.host_observations, observations)
        self.host_masks[0], self.host_masks[1:] = masks, 1.0
        self.first_memory = memory
        for name, flags in self.host_flags.items():
            flags.fill(name == "valid")
        self.upload(0)

    def upload(self, t: int, part: slice = EVERYTHING) -> None:
        """Bring the observations and masks of step t, of some environments, to the device, if that is elsewhere."""
        self._shown.upload(t, part)

    def columns(self, part: slice) -> Columns:
        """What some of the environments do, a step at a time."""
        return Columns(self, part)

    def invalidate_episode(self, t: int, environment: int) -> None:
        """What this environment has done in the episode that ends at step t, within this rollout, is no data."""
        begins = np.flatnonzero(self.host_masks[: t + 1, environment] == 0)
        self.host_flags["valid"][begins[-1] if len(begins) else 0 : t + 1, environment] = False

    @property
    def steps(self) -> int:
        """How many of the T × N steps are data."""
        return int(self.host_flags["valid"].sum())

    def finish(self, has_expert: bool) -> None:
        """All steps are taken: make what the environments wrote available to the learner."""
        self.everything_is_valid = bool(self.host_flags["valid"].all())
        names = ["terminated", "truncated", "valid"] + (["has_expert", "teacher_forced"] if has_expert else [])
        host = {name: self.host_flags[name] for name in names}
        host |= {"actions": self.host_actions, "rewards": self.host_rewards}
        host |= {"expert_actions": self.host_expert_actions} if has_expert else {}
        self.fields = {name: self._on_device(array) for name, array in host.items()}

    def compute_returns(self, settings: ResolvedSettings, workers: WorkerGroup) -> None:
        """Fill in advantages, returns (what the values should be) and the normalized advantages."""
        fields = self.fields
        ended = fields["terminated"] | fields["truncated"]
        following = next_values(
            fields["values"],
            fields["bootstrap_value"],
            fields["terminated"],
            fields["truncated"],
            fields["final_values"],
        )
        rewards, values, gamma = fields["rewards"], fields["values"], settings.gamma
        if settings.use_gae:
            advantages = generalized_advantages(rewards, values, following, ended, gamma, settings.gae_lambda)
            fields["returns"] = advantages + values
        else:
            fields["returns"] = discounted_returns(rewards, following, ended, gamma)
            advantages = fields["returns"] - values
        fields["advantages"] = advantages
        fields["normalized_advantages"] = self._normalized(advantages, workers)

    def _normalized(self, advantages: Tensor, workers: WorkerGroup) -> Tensor:
        """Mean 0 and standard deviation 1 over the data of all workers (float64 sums, so uneven shares are exact)."""
        data = advantages[self.fields["valid"]].double()
        moments = torch.stack([torch.full_like(data.sum(), len(data)), data.sum(), data.square().sum()])
        workers.sum_tensors([moments])
        count, total, total_squared = moments
        mean: Tensor = total / count.clamp(min=1)
        variance = (total_squared / count.clamp(min=1) - mean.square()).clamp(min=0) * count / (count - 1).clamp(min=1)
        normalized: Tensor = (advantages - mean) / (variance.sqrt() + 1e-8)
        return normalized.to(advantages.dtype)

    def explained_variance(self) -> float:
        """1 − Var(returns − values) / Var(returns): 1 is a perfect value function, ≤ 0 no better than a constant."""
        valid = self.fields["valid"]
        returns, values = self.fields["returns"][valid], self.fields["values"][valid]
        variance = returns.var(correction=0)
        return float(1 - (returns - values).var(correction=0) / variance) if variance > 0 else 0.0

    def most_minibatches(self, wanted: int) -> int:
        """How many minibatches the rollout can be broken into: `wanted`, or fewer if it holds fewer units."""
        return min(wanted, self.steps if self.first_memory is None else self.num_envs)

    def minibatches(
        self, count: int, generators: Sequence[np.random.Generator], stage_steps: int
    ) -> Iterator[Minibatch]:
        """The rollout in `count` parts of nearly equal size (see `most_minibatches`), once in each generator's order.

        Without memory: shuffled steps. With memory: shuffled whole sequences.
        """
        if count == 0 or not generators:
            return
        has_memory = self.first_memory is not None
        order = np.arange(self.num_envs) if has_memory else np.flatnonzero(self.host_flags["valid"])
        content = self._content()
        if has_memory and not self.everything_is_valid:
            content["valid"] = self.fields["valid"]
        shares = [share for own in generators for share in np.array_split(own.permutation(order), count)]
        for index in self._on_device(np.concatenate(shares)).split([len(share) for share in shares]):
            yield Minibatch(content, self.first_memory, index, stage_steps)

    def examples(self, count: int) -> list[Minibatch]:
        """One of each size that `minibatches` gives where every step is data; what is in them does not matter."""
        units = self.num_envs if self.first_memory is not None else self.num_steps * self.num_envs
        sizes = sorted({units // count, -(-units // count)})
        content = self._content()
        return [Minibatch(content, self.first_memory, torch.arange(size, device=self.device), 0) for size in sizes]

    def _content(self) -> dict[str, Tree]:
        """What a batch holds of each step: (T, N, …); where there is no memory (T · N, …)."""
        seen = {"observations": self.observations, "masks": self.masks}
        fields = {name: self.fields[name] for name in BATCH_FIELDS if name in self.fields}
        content = {**map_tree(lambda leaf: leaf[: self.num_steps], seen), **fields}
        return content if self.first_memory is not None else map_tree(lambda leaf: leaf.flatten(0, 1), content)

    def valid_observations(self) -> Tree:
        """The observations that actions were chosen on: tree of (number of steps that are data, …)."""
        valid = self.fields["valid"]
        return map_tree(lambda leaf: leaf[:-1][valid], self.observations)

    def observation_bytes(self) -> int:
        """Size of one environment's observation."""
        return sum(leaf[0, 0].numel() * leaf.element_size() for leaf in leaves(self.observations))


class Columns:
    """Some of a rollout's environments, as views: what acting needs of them at each step.

    rows: where the outcome of each step is written. step_observations, step_masks: what the model is given at each,
    with the time axis kept: (1, n, …).
    """

    def __init__(self, rollout: Rollout, part: slice) -> None:
        def own(leaf: Any) -> Any:
            return leaf[:, part]

        self.host_observations = map_tree(own, rollout.host_observations)
        self.host_actions, self.host_expert_actions = own(rollout.host_actions), own(rollout.host_expert_actions)
        self.host_flags = {name: own(flags) for name, flags in rollout.host_flags.items()}
        self.host_masks, self._host_rewards = own(rollout.host_masks), own(rollout.host_rewards)
        self.rows = [self._row(t) for t in range(rollout.num_steps)]
        observations = map_tree(own, rollout.observations)
        steps = range(rollout.num_steps)
        self.step_observations = [map_tree(lambda leaf, t=t: leaf[t : t + 1], observations) for t in steps]
        self.step_masks = list(own(rollout.masks).split(1))

    def _row(self, t: int) -> Row:
        flags = self.host_flags
        following = map_tree(lambda leaf: leaf[t + 1], self.host_observations)
        return Row(self._host_rewards[t], flags["terminated"][t], flags["truncated"][t], flags["valid"][t], following)


BATCH_FIELDS = (
    "actions",
    "log_probs",
    "values",
    "advantages",
    "normalized_advantages",
    "returns",
    "expert_actions",
    "has_expert",
    "teacher_forced",
)
