"""Actors: from observations and noise drawn beforehand to actions."""

from __future__ import annotations

import contextlib
from contextlib import AbstractContextManager
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from ..batch import Memory
from ..distributions import as_action_distribution
from ..models.mlp import MLPActorCritic
from ..models.numpy_policy import NumpyPolicy
from ..tree import Tree, leaves
from .recorded import repeats_itself
from .rollout import Rollout
from .seeding import untouched_global_random_state
from .tape import NotRepeatable, Repeat, record

AS_EVER: AbstractContextManager[object] = contextlib.nullcontext()


class Actor:
    """Acts with any model: by its `policy`, or by its `forward` where it has none."""

    def __init__(self, model: nn.Module) -> None:
        self.model = model
        self.policy: Any = getattr(model, "policy", None) or self._without_values

    def begin(self, noise: np.ndarray, device: torch.device) -> None:
        """A rollout begins, with this noise (T, N, n)."""
        self.noise: tuple[Tensor, ...] = torch.from_numpy(noise[:, None]).to(device).unbind()

    def act(self, rollout: Rollout, t: int, memory: Memory) -> tuple[np.ndarray, Memory]:
        """The actions of step t (N, …), and the memory after it."""
        seen = rollout.step_observations[t], memory, rollout.step_masks[t], self.noise[t]
        actions, memory = self.compute(*seen)
        return actions[0].numpy(force=True), memory

    def compute(self, observations: Tree, memory: Memory, masks: Tensor, noise: Tensor) -> tuple[Tensor, Memory]:
        """The actions (1, N, …) on observations (1, N, …), and the memory after them."""
        distribution, memory = self.policy(observations, memory, masks)
        return as_action_distribution(distribution).sample(noise), memory

    def _without_values(self, observations: Any, memory: Memory, masks: Tensor) -> tuple[Any, Memory]:
        distribution, _, memory = self.model(observations, memory, masks)
        return distribution, memory


class RecordedActor(Actor):
    """The same bits sooner: the operations of the first step are recorded and repeated, see `tape.record`.

    Only for models that repeat themselves, see `repeats_itself`, on a CPU. What cannot be recorded after all is
    computed as ever.

    * rewritten: a context in which torch computes otherwise, for the recording.
    """

    def __init__(self, model: nn.Module, rewritten: AbstractContextManager[object]) -> None:
        super().__init__(model)
        self.rewritten = rewritten
        self._repeat: Repeat | None = None
        self._is_recorded = False
        self._state = [*model.parameters(), *model.buffers()]

    def compute(self, observations: Tree, memory: Memory, masks: Tensor, noise: Tensor) -> tuple[Tensor, Memory]:
        if not self._is_recorded:
            self._record(observations, memory, masks, noise)
        if self._repeat is None:
            return super().compute(observations, memory, masks, noise)
        actions, *remembered = self._repeat(*self._state, *_tensors(observations, memory, masks, noise))
        return actions, remembered[0] if remembered else None

    def _record(self, *seen: Any) -> None:
        def outputs(*inputs: Tensor) -> list[Tensor]:
            return [output for output in super(RecordedActor, self).compute(*seen) if output is not None]

        self._is_recorded = True
        with contextlib.suppress(NotRepeatable), untouched_global_random_state(), self.rewritten:
            self._repeat = record(outputs, [*self._state, *_tensors(*seen)])


def _tensors(observations: Tree, memory: Memory, masks: Tensor, noise: Tensor) -> list[Tensor]:
    return [*leaves(observations), *([] if memory is None else [memory]), masks, noise]


class NumpyActor(Actor):
    """Acts with a small network on a CPU, see `NumpyPolicy`."""

    def __init__(self, model: MLPActorCritic) -> None:
        super().__init__(model)
        self.numpy_policy = NumpyPolicy(model)

    def begin(self, noise: np.ndarray, device: torch.device) -> None:
        self.rows = list(noise)
        self.numpy_policy.begin()

    def act(self, rollout: Rollout, t: int, memory: Memory) -> tuple[np.ndarray, Memory]:
        return self.numpy_policy(rollout.host_observations[t], self.rows[t]), None


def actor_of(
    model: nn.Module, num_envs: int, device: torch.device, rewritten: AbstractContextManager[object] = AS_EVER
) -> Actor:
    """The fastest actor that there is for this model. rewritten: see `RecordedActor`."""
    if isinstance(model, MLPActorCritic) and NumpyPolicy.fits(model, num_envs):
        return NumpyActor(model)
    if device.type == "cpu" and repeats_itself(model, []):
        return RecordedActor(model, rewritten)
    return Actor(model)
