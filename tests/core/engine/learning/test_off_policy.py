from __future__ import annotations

import copy
from collections.abc import Iterator
from typing import Any

import pytest
import torch
from torch import Tensor, nn, optim

from tests.core.declarations import component, pipeline, stage
from tests.toys import CountingEnv, resolved
from trainctl.core.builder import Builder
from trainctl.core.engine.learning.learner import Learner, WeightedLoss
from trainctl.core.engine.learning.off_policy import NoOffPolicy, OffPolicyUpdater
from trainctl.core.engine.trainer import Trainer
from trainctl.core.engine.workers.workers import SingleWorker
from trainctl.core.errors import ExperimentError
from trainctl.core.experiment import Experiment
from trainctl.core.losses import OffPolicyLossOutput
from trainctl.core.models import MLPActorCritic
from trainctl.core.pipeline import OffPolicyPipelineComponent


class Recorder:
    """An off-policy loss that notes what it is given; it leaves the memory it was given plus its value."""

    def __init__(self) -> None:
        self.calls: list[tuple[float, float | None]] = []
        self.have_graph: list[bool] = []

    def __call__(self, model: nn.Module, batch: Any, memory: Tensor | None, stage_steps: int) -> OffPolicyLossOutput:
        self.calls.append((batch["x"].item(), None if memory is None else memory.item()))
        self.have_graph.append(memory is not None and memory.requires_grad)
        value = model(batch["x"].view(1, 1)).mean()
        return OffPolicyLossOutput(value, {"value": value}, (0 if memory is None else memory) + value, batch_size=3)


class Plain(Recorder):
    """The same, but it leaves the memory it was given plus the batch."""

    def __call__(self, model: nn.Module, batch: Any, memory: Tensor | None, stage_steps: int) -> OffPolicyLossOutput:
        value = super().__call__(model, batch, memory, stage_steps).value
        return OffPolicyLossOutput(value, {"value": value}, (0 if memory is None else memory) + batch["x"], 3)


class Numbers:
    """Batches 0, 1, …, count - 1."""

    def __init__(self, count: int = 3) -> None:
        self.count, self.next = count, 0

    def __iter__(self) -> Iterator[Any]:
        return self

    def __next__(self) -> dict[str, Tensor]:
        if self.next >= self.count:
            raise StopIteration
        self.next += 1
        return {"x": torch.tensor(float(self.next - 1))}


class Seekable(Numbers):
    """The same with a state of its own; it counts how often it is asked for a batch."""

    asked = 0

    def __next__(self) -> dict[str, Tensor]:
        type(self).asked += 1
        return super().__next__()

    def state_dict(self) -> dict[str, int]:
        return {"next": self.next}

    def load_state_dict(self, state: dict[str, int]) -> None:
        self.next = state["next"]


def updater(loss: Any, updates: int = 1, builder: Any = Numbers, others: tuple[Any, ...] = (), **more: Any) -> Any:
    model = nn.Linear(1, 1)
    learner = Learner(model, Builder(optim.SGD, {"lr": 0.01}), None, SingleWorker(), seed=5)
    losses = [WeightedLoss(f"loss{i}", 1.0 + i, each) for i, each in enumerate((loss, *others))]
    component = OffPolicyPipelineComponent(builder, [item.name for item in losses], updates, **more)
    return OffPolicyUpdater(component, losses, model, learner, environments_per_worker=[4], key=2)


def test_each_update_takes_the_next_batch_and_a_new_epoch_begins_where_the_data_ends() -> None:
    loss = Plain()
    own = updater(loss, updates=4)
    assert own.update(resolved(), 0)["off_policy/epoch"] == (1.0, 1.0)
    own.update(resolved(), 0)
    assert [x for x, _ in loss.calls] == [0, 1, 2, 0, 1, 2, 0, 1]
    assert (own.epoch, own.position) == (2, 2)


def test_memory_goes_from_batch_to_batch_and_is_forgotten_with_the_epoch() -> None:
    loss = Plain()
    updater(loss, updates=7).update(resolved(), 0)
    assert loss.calls == [(0, None), (1, 0), (2, 1), (0, None), (1, 0), (2, 1), (0, None)]


def test_memory_goes_from_loss_to_loss_and_is_detached_between_batches() -> None:
    first = Recorder()
    own = updater(first, updates=2, others=(first,))
    own.update(resolved(), 0)
    assert [x for x, _ in first.calls] == [0, 0, 1, 1]
    assert [memory is None for _, memory in first.calls] == [True, False, False, False]
    assert first.have_graph == [False, True, False, True]
    assert not own.memory.requires_grad


def test_each_update_is_one_optimizer_step_down_the_weighted_sum() -> None:
    own = updater(Plain(), updates=1, others=(Plain(),))
    before = [parameter.detach().clone() for parameter in own.model.parameters()]
    weight, bias = before
    value = float(bias)  # the first batch is 0
    means = own.update(resolved(), 0)
    assert own.model.weight.item() == weight.item()
    assert own.model.bias.item() == pytest.approx(value - 0.01 * (1.0 + 2.0))
    assert means["off_policy/total"] == (pytest.approx(3 * value), 3.0)
    assert means["off_policy/grad_norm"] == (3.0, 3.0)
    assert means["off_policy/loss1/value"] == (pytest.approx(value), 3.0)


def test_what_builds_the_data_is_told_worker_environments_and_a_seed_for_each_epoch() -> None:
    told: list[tuple[int, list[int], int | None]] = []

    def arguments(cur_worker: int, rollouts_per_worker: list[int], seed: int | None) -> dict[str, Any]:
        told.append((cur_worker, rollouts_per_worker, seed))
        return {"count": 2}

    loss = Plain()
    updater(loss, updates=5, data_iterator_kwargs_generator=arguments).update(resolved(), 0)
    assert [x for x, _ in loss.calls] == [0, 1, 0, 1, 0]
    assert [(worker, environments) for worker, environments, _ in told] == [(0, [4])] * 3
    assert len({seed for _, _, seed in told}) == 3


class OneOfSeveral(SingleWorker):
    """Knows its place among workers that are not there."""

    def __init__(self, rank: int, world_size: int) -> None:
        self.rank, self.world_size = rank, world_size


@pytest.mark.parametrize("shares", [[4, 3], [3, 2, 2]])
def test_each_of_several_workers_is_told_its_rank_the_environments_of_all_and_the_same_seed(shares: list[int]) -> None:
    told: list[tuple[int, list[int], int | None]] = []
    data = component(
        data_iterator_builder=Numbers, data_iterator_kwargs_generator=lambda *given: told.append(given) or {"count": 2}
    )
    experiment = Experiment(
        environment=Builder(CountingEnv),
        num_envs=7,
        environment_processes=0,
        model=Builder(MLPActorCritic, {"hidden_sizes": (4,)}),
        pipeline=pipeline(stage(offpolicy_component=data), optimizer_builder=Builder(optim.SGD, {"lr": 0.01})),
    )
    for rank in range(len(shares)):
        trainer = Trainer(experiment, 1, torch.device("cpu"), OneOfSeveral(rank, len(shares)))
        trainer.build()
        trainer.close()
        assert len(trainer.indices) == shares[rank]
    assert [(worker, environments) for worker, environments, _ in told] == [(r, shares) for r in range(len(shares))]
    assert len({seed for _, _, seed in told}) == 1


def test_data_that_is_empty_when_fresh_is_an_error() -> None:
    with pytest.raises(ExperimentError, match="a fresh one gave no batch"):
        updater(Plain(), builder=lambda: iter(())).update(resolved(), 0)


def test_data_that_is_empty_in_a_later_epoch_is_an_error_too() -> None:
    epochs = iter([Numbers(2), Numbers(0)])
    with pytest.raises(ExperimentError, match="a fresh one gave no batch"):
        updater(Plain(), updates=3, builder=lambda: next(epochs)).update(resolved(), 0)


@pytest.mark.parametrize("builder", [Numbers, Seekable])
@pytest.mark.parametrize("taken", [0, 1, 3, 5])
def test_resuming_goes_on_with_the_next_batch(builder: Any, taken: int) -> None:
    loss, resumed = Plain(), Plain()
    own, again = updater(loss, updates=taken, builder=builder), updater(resumed, updates=4, builder=builder)
    own.update(resolved(), 0)
    again.load_state_dict(copy.deepcopy(own.state_dict()))
    own.component = again.component
    taken_before = len(loss.calls)
    own.update(resolved(), 0)
    again.update(resolved(), 0)
    assert resumed.calls == loss.calls[taken_before:]
    assert own.state_dict() == again.state_dict()


def test_data_with_a_state_of_its_own_is_not_walked_through_again() -> None:
    own, again = (updater(Plain(), updates=50, builder=lambda: Seekable(100)) for _ in range(2))
    own.update(resolved(), 0)
    Seekable.asked = 0
    again.load_state_dict(own.state_dict())
    assert Seekable.asked == 0
    assert again._next_batch()["x"].item() == 50


def test_data_that_has_become_shorter_is_reported_and_begins_anew() -> None:
    own = updater(Plain(), updates=5, builder=lambda: Numbers(9))
    own.update(resolved(), 0)
    again = updater(Plain(), builder=lambda: Numbers(3))
    (problem,) = again.load_state_dict(own.state_dict())
    assert "ended after 3 of the 5 batches" in problem
    assert again._next_batch()["x"].item() == 0


@pytest.mark.parametrize(
    "result",
    [
        None,
        OffPolicyLossOutput(1.0, {}, None, 1),  # type: ignore[arg-type]
        OffPolicyLossOutput(torch.tensor(1.0), {}, None, 1),
        OffPolicyLossOutput(torch.ones(2, requires_grad=True), {}, None, 1),
    ],
    ids=["nothing", "number", "no graph", "no scalar"],
)
def test_what_is_no_off_policy_loss_is_refused(result: Any) -> None:
    with pytest.raises(ExperimentError, match="'loss0' returned"):
        updater(lambda model, batch, memory, stage_steps: result).update(resolved(), 0)


def test_a_stage_without_an_off_policy_part_does_nothing_and_remembers_nothing() -> None:
    nothing = NoOffPolicy()
    assert nothing.update(resolved(), 0) == {}
    assert nothing.state_dict() == {}
    nothing.load_state_dict({})
