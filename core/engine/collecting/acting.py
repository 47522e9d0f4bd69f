"""Actors: from observations and noise drawn beforehand to actions."""

from __future__ import annotations

import contextlib
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.func import functional_call

from ...batch import Memory
from ...distributions import Categorical, as_action_distribution
from ...models.mlp import MLPActorCritic
from ...models.numpy_policy import NumpyPolicy
from ...tree import Tree, filled, leaves
from ..learning.compiler import ACTING, Compiler, in_one_graph
from ..learning.recorded import repeats_itself
from ..learning.tape import NotRepeatable, Repeat, record
from ..seeding import untouched_global_random_state
from .rollout import Columns


class Actor:
    """Acts with any model: by its `policy`, or by its `forward` where it has none."""

    def __init__(self, model: nn.Module) -> None:
        self.model = model
        self.policy: Any = model.policy if _has_policy(type(model)) else self._without_values

    def begin(self, noise: np.ndarray, device: torch.device) -> None:
        """A rollout begins, with this noise (T, N, n)."""
        self.noise: tuple[Tensor, ...] = torch.from_numpy(noise[:, None]).to(device).unbind()

    def act(self, columns: Columns, t: int, memory: Memory) -> tuple[np.ndarray, Memory]:
        """The actions of step t (N, …), and the memory after it."""
        seen = columns.step_observations[t], memory, columns.step_masks[t], self.noise[t]
        actions, memory = self.compute(*seen)
        return actions[0].numpy(force=True), memory

    def compute(self, observations: Tree, memory: Memory, masks: Tensor, noise: Tensor) -> tuple[Tensor, Memory]:
        """The actions (1, N, …) on observations (1, N, …), and the memory after them."""
        distribution, memory = self.policy(observations, memory, masks)
        return as_action_distribution(distribution).sample(noise), memory

    def evaluated(self, actions: Tensor, are_own: bool) -> tuple[Tensor, Tensor] | None:
        """Values (T, N) of this rollout, and log-probabilities of the actions (T, N, …) that were executed, which this
        actor chose itself or not; None: still to be computed."""
        return None

    def _without_values(self, observations: Any, memory: Memory, masks: Tensor) -> tuple[Any, Memory]:
        distribution, _, memory = self.model(observations, memory, masks)
        return distribution, memory


def _has_policy(kind: type[nn.Module]) -> bool:
    """Whether models of this class have a method `policy` that knows their `forward`. In a class that is made from a
    ready model and has a `forward` of its own, the inherited `policy` does not."""
    return next("policy" in vars(part) for part in kind.__mro__ if {"policy", "forward"} & vars(part).keys())


class RecordedActor(Actor):
    """The same bits sooner: the operations of the first step are recorded and repeated, see `tape.record`.

    The model is asked for the values as well: most of what leads to them has been computed by then.

    Only for models that repeat themselves, see `repeats_itself`, on a CPU. What cannot be recorded after all is
    computed as ever.

    * compiler: for what can be recorded.
    """

    def __init__(self, model: nn.Module, compiler: Compiler) -> None:
        super().__init__(model)
        self.compiler = compiler
        self._repeat: Repeat | None = None
        self._is_recorded = False
        self._state = {**dict(model.named_parameters()), **dict(model.named_buffers())}
        # of the steps so far: values, and logits or log-probabilities
        self._evaluated: list[tuple[Tensor, Tensor]] = []
        self._gives_logits = False

    def begin(self, noise: np.ndarray, device: torch.device) -> None:
        super().begin(noise, device)
        self._evaluated.clear()

    def compute(self, observations: Tree, memory: Memory, masks: Tensor, noise: Tensor) -> tuple[Tensor, Memory]:
        seen = {"observations": observations, "masks": masks, "noise": noise}
        if memory is not None:
            seen["memory"] = memory
        if not self._is_recorded:
            self._record(seen)
        if self._repeat is None:
            return super().compute(observations, memory, masks, noise)
        actions, values, of_actions, *after = self._repeat(*self._state.values(), *leaves(seen))
        self._evaluated.append((values, of_actions))
        return actions, after[0] if after else None

    def evaluated(self, actions: Tensor, are_own: bool) -> tuple[Tensor, Tensor] | None:
        if not (self._evaluated and (are_own or self._gives_logits)):
            return None
        values, of_actions = (torch.cat(steps) for steps in zip(*self._evaluated, strict=True))
        return values, Categorical(of_actions).log_prob(actions) if self._gives_logits else of_actions

    def _outputs(self, state: dict[str, Tensor], seen: dict[str, Tree]) -> list[Tensor]:
        """The actions; the values; logits where there are some, else the log-probabilities of the actions; for a model
        with memory also the memory after them."""
        memory = seen.get("memory")
        distribution, values, after = functional_call(self.model, state, (seen["observations"], memory, seen["masks"]))
        distribution = as_action_distribution(distribution)
        actions = distribution.sample(seen["noise"])
        if isinstance(distribution, Categorical):
            self._gives_logits, of_actions = True, distribution.logits
        else:
            of_actions = distribution.log_prob(actions)
        return [actions, values, of_actions, *([] if memory is None else [after])]

    def _record(self, seen: dict[str, Tree]) -> None:
        self._is_recorded = True

        def outputs(*inputs: Tensor) -> list[Tensor]:
            state = dict(zip(self._state, inputs, strict=False))
            return self._outputs(state, filled(seen, inputs[len(state) :]))

        inputs = [*self._state.values(), *leaves(seen)]
        with contextlib.suppress(NotRepeatable), untouched_global_random_state():
            self._repeat = record(outputs, inputs)
            self._repeat = self.compiler.try_to(lambda: in_one_graph(outputs, inputs), ACTING) or self._repeat


class NumpyActor(Actor):
    """Acts with a small network on a CPU, see `NumpyPolicy`."""

    def __init__(self, model: MLPActorCritic) -> None:
        super().__init__(model)
        self.numpy_policy = NumpyPolicy(model)

    def begin(self, noise: np.ndarray, device: torch.device) -> None:
        self.rows = list(noise)
        self.numpy_policy.begin()

    def act(self, columns: Columns, t: int, memory: Memory) -> tuple[np.ndarray, Memory]:
        return self.numpy_policy(columns.host_observations[t], self.rows[t]), None


def actor_of(model: nn.Module, num_envs: int, device: torch.device, compiler: Compiler) -> Actor:
    """The fastest actor that there is for this model. compiler: see `RecordedActor`."""
    if isinstance(model, MLPActorCritic) and NumpyPolicy.fits(model, num_envs):
        return NumpyActor(model)
    if device.type == "cpu" and repeats_itself(model, []):
        return RecordedActor(model, compiler)
    return Actor(model)


def initial_memory(model: nn.Module, num_envs: int, device: torch.device) -> Memory:
    """The memory the model begins with; None for a model that has none or does not say."""
    make: Any = getattr(model, "initial_memory", None)
    memory = make(num_envs) if make is not None else None
    return None if memory is None else memory.to(device)
