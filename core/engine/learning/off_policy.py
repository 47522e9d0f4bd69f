"""OffPolicyUpdater: the running side of an OffPolicyPipelineComponent."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import islice
from typing import Any

import gymnasium
import torch
from torch import nn

from ...batch import Memory
from ...errors import ExperimentError, NonFiniteError, TrainctlError, shown
from ...losses.loss import OffPolicyLossOutput
from ...pipeline import OffPolicyPipelineComponent
from ...settings import ResolvedSettings
from ...tree import map_tree
from ..environments import is_same_space
from ..seeding import derived_seed, untouched_global_random_state
from .learner import Learner, Statistics, WeightedLoss
from .non_finite import OFF_POLICY, FailedUpdate, explained
from .weighing import numbers

Means = dict[str, tuple[float, float]]

_END = object()


class NoOffPolicy:
    """A stage that learns from its own rollouts only."""

    def check(self, observation_space: gymnasium.Space[Any], action_space: gymnasium.Space[Any]) -> None:
        """Nothing can be wrong."""

    def update(self, settings: ResolvedSettings, stage_steps: int) -> Means:
        """Nothing to learn."""
        return {}

    def state_dict(self) -> dict[str, Any]:
        """Nothing to remember."""
        return {}

    def load_state_dict(self, state: dict[str, Any]) -> list[str]:
        """Nothing to remember."""
        return []


class OffPolicyUpdater(NoOffPolicy):
    """Takes batches from a stage's data iterator and makes optimizer steps with them.

    * environments_per_worker: what `data_iterator_kwargs_generator` is told.
    * key: part of each epoch's seed, the same on all workers.
    """

    def __init__(
        self,
        component: OffPolicyPipelineComponent,
        losses: Sequence[WeightedLoss],
        model: nn.Module,
        learner: Learner,
        environments_per_worker: list[int],
        key: int,
    ) -> None:
        self.component, self.losses, self.model, self.learner = component, losses, model, learner
        self.environments_per_worker = environments_per_worker
        self.key = key
        self.epoch = 0
        self.position = 0
        self.memory: Memory = None
        self._iterator: Iterator[Any] | None = None

    def check(self, observation_space: gymnasium.Space[Any], action_space: gymnasium.Space[Any]) -> None:
        """Refuse data that is empty, or of other spaces than these, before the training has begun.

        The iterator is built once for that alone, and gives one batch. It tells its spaces, if it does, in attributes
        `observation_space` and `action_space`.
        """
        with untouched_global_random_state():
            iterator = self._build()
            for name, wanted in (("observation_space", observation_space), ("action_space", action_space)):
                found = getattr(iterator, name, wanted)
                if not is_same_space(found, wanted):
                    raise ExperimentError(
                        f"the data of offpolicy_component has another {name} than the environment: "
                        f"{found} (data), {wanted} (environment)",
                        "use data that were recorded in this environment, with the same wrappers",
                    )
            if next(iterator, _END) is _END:
                raise _empty()

    def update(self, settings: ResolvedSettings, stage_steps: int) -> Means:
        """The component's number of optimizer steps. Returns for each tag its mean and weight (samples)."""
        statistics = Statistics()
        for _ in range(self.component.updates):
            batch = map_tree(self._on_device, self._next_batch())
            tags: dict[str, torch.Tensor] = {}
            values, size = [], 0
            memory, own = self.memory, dict[str, torch.Tensor]()
            for item in self.losses:
                result = item.loss(self.model, batch, self.memory, stage_steps)
                self._check(item.name, result)
                self.memory = result.memory
                own[item.name] = result.value
                values.append(item.weight * result.value)
                size = max(size, result.batch_size)
                tags |= {f"off_policy/{item.name}/{part}": value for part, value in result.info.items()}
            total = torch.stack(values).sum()
            try:
                norm = self.learner.step(total, size, settings)
            except NonFiniteError as error:
                found = {name: float(value.detach()) for name, value in own.items()}
                failed = FailedUpdate(OFF_POLICY, {"batch": batch}, memory, stage_steps, found)
                raise explained(error, failed, self.model, self.learner.workers) from None
            self.memory = None if self.memory is None else self.memory.detach()
            logged = numbers({"off_policy/total": total, "off_policy/grad_norm": norm, **tags}, total.device)
            statistics.add(size, *logged)
        return {**statistics.means(), "off_policy/epoch": (float(self.epoch), 1.0)}

    def _next_batch(self) -> Any:
        if self._iterator is None:
            self._iterator = self._build()
        batch = next(self._iterator, _END)
        if batch is _END and self.position > 0:
            self.epoch, self.position, self.memory = self.epoch + 1, 0, None
            self._iterator = self._build()
            batch = next(self._iterator, _END)
        if batch is _END:
            raise _empty()
        self.position += 1
        return batch

    def _build(self) -> Iterator[Any]:
        generator = self.component.data_iterator_kwargs_generator
        workers = self.learner.workers
        seed = derived_seed(self.learner.seed, "off policy", self.key, self.epoch)
        arguments = generator(workers.rank, self.environments_per_worker, seed) if generator else {}
        try:
            return iter(self.component.data_iterator_builder(**arguments))
        except TrainctlError:
            raise
        except Exception as error:
            raise ExperimentError(
                f"the data_iterator_builder of offpolicy_component cannot be called with {shown(arguments)}: "
                f"{type(error).__name__}: {error}",
                "its keyword arguments come from data_iterator_kwargs_generator; what it returns must be iterable",
            ) from error

    def _on_device(self, leaf: Any) -> Any:
        device = self.learner.parameters[0].device
        return leaf.to(device) if isinstance(leaf, torch.Tensor) else leaf

    def _check(self, name: str, result: Any) -> None:
        value = result.value if isinstance(result, OffPolicyLossOutput) else None
        if not isinstance(value, torch.Tensor) or value.dim() > 0 or not value.requires_grad:
            raise ExperimentError(
                f"the off-policy loss {name!r} returned {result!r}",
                "return OffPolicyLossOutput(value, info, memory, batch_size) with a scalar value that has a graph",
            )

    def state_dict(self) -> dict[str, Any]:
        """Epoch, batches taken in it, the memory, and the iterator's own state if it has one."""
        state: dict[str, Any] = {"epoch": self.epoch, "position": self.position, "memory": self.memory}
        own: Any = getattr(self._iterator, "state_dict", None)
        if own is not None:
            state["iterator"] = own()
        return state

    def load_state_dict(self, state: dict[str, Any]) -> list[str]:
        """Continue after the same batch: with the iterator's own state, or by taking as many batches again.

        Returns what could not be restored, in words.
        """
        self.epoch, self.position, self.memory = state["epoch"], state["position"], state["memory"]
        self._iterator = self._build()
        if "iterator" in state and hasattr(self._iterator, "load_state_dict"):
            self._iterator.load_state_dict(state["iterator"])
            return []
        taken = sum(1 for _ in islice(self._iterator, self.position))
        if taken == self.position:
            return []
        return [f"the off-policy data ended after {taken} of the {self.position} batches that had been taken of it"]


def _empty() -> ExperimentError:
    return ExperimentError(
        "the data iterator of offpolicy_component is empty: a fresh one gave no batch",
        "check data_iterator_builder and, with several workers, that each gets a share of the data",
    )
