"""Learner: weighted losses → gradient → clip → step. Owns the optimizer and the learning-rate schedule."""

from __future__ import annotations

import copy
import inspect
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn, optim

from ...builder import Builder, built
from ...errors import NonFiniteError
from ...models.normalization import ObservationNormalizer
from ...settings import ResolvedSettings
from ..collecting.rollout import Rollout
from ..device import threads
from ..seeding import GlobalRandomState, stream
from ..workers.workers import WorkerGroup
from .compiled import CompiledGradients
from .compiler import Compiler
from .graph_step import GraphStep
from .non_finite import ON_POLICY, FailedUpdate, LookEachTime, LookLater, explained, fields_of
from .optimizer_steps import WholeAdamSteps, keep_compiler_out, steps_of
from .recorded import RecordedGradients
from .schedule import Schedule
from .weighing import Gradients, weigh
from .weighing import WeightedLoss as WeightedLoss
from .weights import Weights

Means = dict[str, tuple[float, float]]
"""tag -> (mean over minibatches, its weight)."""


class Learner:
    """Changes the model's parameters, and nothing else does."""

    def __init__(
        self,
        model: nn.Module,
        optimizer_builder: Builder[optim.Optimizer],
        lr_scheduler_builder: Builder[optim.lr_scheduler.LRScheduler] | None,
        workers: WorkerGroup,
        seed: int,
    ) -> None:
        self.model = model
        self.workers = workers
        self.seed = seed
        self.threads = 1
        self._make_gradients: Callable[..., Gradients] = RecordedGradients
        self._gradients: Gradients | None = None  # of the running stage
        self.weights = Weights(model)
        self.parameters = self.weights.parameters
        self.normalizers = [module for module in model.modules() if isinstance(module, ObservationNormalizer)]
        self.optimizer_builder, self.lr_scheduler_builder = optimizer_builder, lr_scheduler_builder
        self.looks_later = self.parameters[0].device.type != "cpu"
        self._look = LookEachTime()
        self.restart_optimizer()
        self.restart_schedule(0)

    def compile(self, compiler: Compiler) -> None:
        """From the next update on compile what gives the gradients."""
        self._make_gradients = partial(CompiledGradients, compiler=compiler)

    def restart_optimizer(self) -> None:
        """A fresh optimizer, as the pipeline builds it."""
        keep_compiler_out()
        self.optimizer = built(self.optimizer_builder, params=self.parameters, **_fused(self.optimizer_builder))
        self._steps = steps_of(self.optimizer, self.weights)

    def restart_schedule(self, first_step: int, total_steps: int | None = None) -> None:
        """A fresh learning-rate schedule that counts total steps from `first_step` on.

        total_steps: where it is now; None: at its beginning.
        """
        for group in self.optimizer.param_groups:
            group["lr"] = group.pop("initial_lr", group["lr"])  # or a scheduler would go on from the one before
        self.schedule = Schedule(self.lr_scheduler_builder, self.optimizer, first_step)
        if total_steps is not None:
            self.schedule.advance(total_steps)

    @property
    def learning_rate(self) -> float:
        """The learning rate of the first parameter group."""
        return float(self.optimizer.param_groups[0]["lr"])

    def update(
        self, rollout: Rollout, losses: Sequence[WeightedLoss], settings: ResolvedSettings, index: int, stage_steps: int
    ) -> Means:
        """update_repeats passes over the rollout's minibatches, one optimizer step each.

        index: rollouts of the run so far; the order of the minibatches is keyed by it. Returns for each tag the
        mean over the minibatches and its weight (steps).
        """
        if not losses:
            return {}
        update = partial(self._update, rollout, losses, settings, index, stage_steps)
        with threads(self.threads):
            return self._without_waiting(update) if self.looks_later else update()

    def _without_waiting(self, update: Callable[[], Means]) -> Means:
        """The same where a GPU computes while we go on: whether its numbers are finite is asked once, after all steps.

        If they are not, everything is put back and the update made again with a look before each step, so that the
        error finds it as it was then.
        """
        before = copy.deepcopy(self._changed_by_updates())
        self._look = later = LookLater()
        try:
            means = update()
        except Exception:  # numbers that are not finite may have led to it
            if later.all_were_finite():
                raise
        finally:
            self._look = LookEachTime()
        if later.all_were_finite():
            return means
        self._put_back(*before)
        return update()

    def _changed_by_updates(self) -> tuple[dict[str, Any], dict[str, Any], dict[str, Any]]:
        return self.model.state_dict(), self.optimizer.state_dict(), GlobalRandomState().state_dict()

    def _put_back(self, model: dict[str, Any], optimizer: dict[str, Any], random: dict[str, Any]) -> None:
        self.model.load_state_dict(model)
        self._load_optimizer(optimizer)
        self._gradients = None  # which may have held the optimizer's old state
        GlobalRandomState().load_state_dict(random)

    def _update(
        self, rollout: Rollout, losses: Sequence[WeightedLoss], settings: ResolvedSettings, index: int, stage_steps: int
    ) -> Means:
        statistics = Statistics()
        # all workers must make the same number of steps together
        count = min(self.workers.gather(rollout.most_minibatches(settings.num_mini_batch)))
        if count == 0:
            return {}
        gradients = self._gradients_of(losses, rollout, count, settings)
        orders = [
            stream(self.seed, "minibatches", self.workers.rank, index, repeat)
            for repeat in range(settings.update_repeats)
        ]
        step = partial(self.descend, settings=settings)
        with gradients.of_one_update():
            for part in rollout.minibatches(count, orders, stage_steps):
                try:
                    logged, norm = gradients.descend(part, step)
                except NonFiniteError as error:
                    batch = part.batch()
                    weighed = weigh(self.model, losses, batch)
                    values = {name: float(value.detach()) for name, value in weighed.values.items()}
                    failed = FailedUpdate(ON_POLICY, fields_of(batch), batch.memory, stage_steps, values)
                    raise explained(error, failed, self.model, self.workers) from None
                statistics.add(part.size, [*logged.tags, "train/grad_norm"], logged.vector, norm)
        return statistics.means()

    def _gradients_of(
        self, losses: Sequence[WeightedLoss], rollout: Rollout, count: int, settings: ResolvedSettings
    ) -> Gradients:
        """What sets the gradients in the stage of these losses."""
        if self._gradients is None or self._gradients.losses is not losses:
            self._gradients = self._make_gradients(self.model, self.weights, losses)
            self._gradients.prepare(rollout, count, self._graph_step(settings))
        return self._gradients

    def _graph_step(self, settings: ResolvedSettings) -> GraphStep | None:
        if self.workers.world_size == 1 and isinstance(self._steps, WholeAdamSteps) and self._steps.same_counts:
            return GraphStep(self._steps, settings, lambda number: self._look.is_bad(number))
        return None

    def update_normalizers(self, rollout: Rollout) -> None:
        """Show the model's observation normalizers the rollout's observations, of all workers."""
        for normalizer in self.normalizers:
            observations = rollout.valid_observations()
            measured = normalizer.measure(observations)
            self.workers.sum_tensors(measured)
            normalizer.update(*measured)

    def step(self, total: Tensor, size: int, settings: ResolvedSettings) -> Tensor:
        """One optimizer step down the gradient of `total`, a mean over `size` samples of this worker: `descend`."""
        self.weights.backward(total)
        return self.descend(total, size, settings)

    def descend(self, total: Tensor, size: int, settings: ResolvedSettings) -> Tensor:
        """One optimizer step down the gradients that the parameters have, those of `total`.

        Returns the gradient's norm before clipping. Raises NonFiniteError, before the step, on every worker if a
        loss or gradient of any is not finite; but see `_without_waiting`.
        """
        averaged = self.weights.average(total, size, self.workers)
        norm = self.weights.norm(settings.grad_norm_type)
        if self._look.is_bad(averaged + norm):
            raise NonFiniteError(self._non_finite(averaged))
        if settings.max_grad_norm is not None:
            self.weights.clip(norm, settings.max_grad_norm)
        self._steps.step()
        return norm

    def _non_finite(self, total: Tensor) -> str:
        named = [(name, p.grad) for name, p in self.model.named_parameters() if p.grad is not None]
        bad = next((name for name, gradient in named if not torch.isfinite(gradient).all()), None)
        where = f"; first bad gradient: {bad}" if bad and torch.isfinite(total) else ""
        return f"non-finite numbers in an update: loss = {float(total)}{where}"

    def state_dict(self) -> dict[str, Any]:
        """The optimizer's and the schedule's state."""
        return {"optimizer": self.optimizer.state_dict(), "schedule": self.schedule.state_dict()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continue from there."""
        self._load_optimizer(state["optimizer"])
        self.schedule.load_state_dict(state["schedule"])

    def _load_optimizer(self, state: dict[str, Any]) -> None:
        self.optimizer.load_state_dict(state)
        self._steps = steps_of(self.optimizer, self.weights)

    def go_on_with_new_settings(self, state: Mapping[str, Any], total_steps: int, same_optimizer: bool) -> None:
        """Keep the saved moments if the optimizer is of the same class, but not the saved hyperparameters."""
        self.restart_optimizer()
        if same_optimizer:
            self._load_optimizer({**self.optimizer.state_dict(), "state": state["optimizer"]["state"]})
        self.restart_schedule(state["schedule"]["first_step"], total_steps)


class Statistics:
    """Means of scalars over minibatches, kept on the device until they are asked for."""

    def __init__(self) -> None:
        self.tags: Sequence[str] = ()
        self.numbers: list[Tensor] = []
        self.sizes: list[int] = []

    def add(self, size: int, tags: Sequence[str], *numbers: Tensor) -> None:
        """Of one minibatch of `size` steps, scalars or vectors with together a number for each tag; always the same
        tags."""
        self.tags = tags
        self.numbers += numbers
        self.sizes.append(size)

    def means(self) -> Means:
        """tag -> (mean weighted by size, total size). One transfer from the device."""
        if not self.sizes:
            return {}
        rows = torch.cat([number.view(-1) for number in self.numbers]).cpu().double().view(len(self.sizes), -1)
        sizes = torch.tensor(self.sizes, dtype=torch.float64)
        means = (rows * sizes[:, None]).sum(dim=0) / sizes.sum()
        return {tag: (mean, float(sizes.sum())) for tag, mean in zip(self.tags, means.tolist(), strict=True)}


def _fused(builder: Builder[optim.Optimizer]) -> dict[str, Any]:
    """Optimizers that have a fused form use it unless the user says otherwise: same numbers, fewer calls."""
    parameters = inspect.signature(builder.class_type).parameters
    chosen = {"fused", "foreach"} & (builder.kwargs.keys() | builder.default.keys())
    return {"fused": True} if "fused" in parameters and not chosen else {}
