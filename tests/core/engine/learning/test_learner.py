from __future__ import annotations

import copy
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import fields
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn, optim
from torch.utils._python_dispatch import TorchDispatchMode

from tests.batches import batch_of
from tests.core.engine.learning.test_compiled import filled_rollout, model_of
from tests.toys import resolved
from trainctl.core.batch import Batch
from trainctl.core.builder import Builder
from trainctl.core.distributions import Categorical
from trainctl.core.engine.learning.learner import Learner, Statistics, WeightedLoss
from trainctl.core.engine.learning.minibatch import Minibatch
from trainctl.core.engine.learning.weighing import Gradients
from trainctl.core.engine.workers.workers import SingleWorker
from trainctl.core.errors import ExperimentError, NonFiniteError
from trainctl.core.losses import PPO, LossOutput
from trainctl.core.model import ActorCriticOutput

START = [1.0, -2.0, 3.0]


class Vector(nn.Module):
    """Its values are all the same: the sum of its parameters times the batch's observations."""

    def __init__(self) -> None:
        super().__init__()
        self.weights = nn.Parameter(torch.tensor(START))

    def forward(self, observations: Tensor, memory: Tensor | None, masks: Tensor) -> ActorCriticOutput:
        values = (observations * self.weights).sum(dim=-1)
        return ActorCriticOutput(Categorical(torch.zeros(*values.shape, 2)), values, None)


class Minibatches:
    """What the learner asks of a rollout: minibatches, here always the same ones."""

    def __init__(self, *observations: list[list[float]]) -> None:
        self.parts = [_minibatch(batch_of(len(rows), observations=torch.tensor([rows]))) for rows in observations]

    def most_minibatches(self, wanted: int) -> int:
        return len(self.parts)

    def minibatches(
        self, count: int, generators: Sequence[np.random.Generator], stage_steps: int
    ) -> Iterator[Minibatch]:
        for _ in generators:
            yield from self.parts


def _minibatch(batch: Batch) -> Minibatch:
    trees = {field.name: getattr(batch, field.name) for field in fields(batch)}
    content = {name: tree[0] for name, tree in trees.items() if isinstance(tree, Tensor)}
    return Minibatch(content, None, torch.arange(len(batch.actions[0])), batch.stage_steps)


def value_loss(batch: Batch, output: ActorCriticOutput) -> LossOutput:
    mean = output.values.mean()
    return LossOutput(mean, {"mean": mean}, {"double": 2 * mean})


def learner(optimizer: Builder[optim.Optimizer] | None = None) -> Learner:
    return Learner(Vector(), optimizer or Builder(optim.SGD, {"lr": 0.5}), None, SingleWorker(), seed=1)


def update(own: Learner, rollout: Any, loss: Callable[..., Any] = value_loss, **settings: Any) -> Any:
    return own.update(rollout, [WeightedLoss("own", 1.0, loss)], resolved(**settings), 0, 0)


def weights(own: Learner) -> list[float]:
    return own.parameters[0].tolist()  # type: ignore[no-any-return]


def test_one_minibatch_is_one_step_down_its_gradient() -> None:
    own = learner()
    update(own, Minibatches([[3.0, 4.0, 0.0], [1.0, 0.0, 2.0]]))
    gradient = [2.0, 2.0, 1.0]  # the mean of the two rows
    assert weights(own) == [w - 0.5 * g for w, g in zip(START, gradient, strict=True)]


def test_each_repeat_goes_through_all_minibatches() -> None:
    own = learner()
    update(own, Minibatches([[1.0, 0.0, 0.0]], [[0.0, 1.0, 0.0]]), update_repeats=3)
    assert weights(own) == [1.0 - 3 * 0.5, -2.0 - 3 * 0.5, 3.0]


def test_no_repeats_change_nothing() -> None:
    own = learner()
    assert update(own, Minibatches([[1.0, 0.0, 0.0]]), update_repeats=0) == {}
    assert weights(own) == START


@pytest.mark.parametrize(
    ("norm_type", "norm"), [(math.inf, 4.0), (2.0, 5.0), (1.0, 7.0)], ids=["inf", "euclidean", "sum"]
)
def test_gradients_are_scaled_to_the_norm_and_the_norm_before_is_reported(norm_type: float, norm: float) -> None:
    own = learner(Builder(optim.SGD, {"lr": 1.0}))
    means = update(own, Minibatches([[3.0, 4.0, 0.0]]), max_grad_norm=0.5, grad_norm_type=norm_type)
    step = [start - now for start, now in zip(START, weights(own), strict=True)]
    assert step == pytest.approx([3.0 * 0.5 / norm, 4.0 * 0.5 / norm, 0.0], abs=1e-6)
    assert means["train/grad_norm"] == (norm, 1.0)


@pytest.mark.parametrize("max_grad_norm", [None, 4.5, math.inf])
def test_gradients_within_the_norm_are_left_alone(max_grad_norm: float | None) -> None:
    own = learner(Builder(optim.SGD, {"lr": 1.0}))
    update(own, Minibatches([[3.0, 4.0, 0.0]]), max_grad_norm=max_grad_norm)
    assert weights(own) == [1.0 - 3.0, -2.0 - 4.0, 3.0]


def test_losses_are_added_by_their_weights() -> None:
    own = learner(Builder(optim.SGD, {"lr": 1.0}))

    def square(batch: Batch, output: ActorCriticOutput) -> LossOutput:
        value = output.values.square().mean()
        return LossOutput(value, {"square": value})

    losses = [WeightedLoss("plain", 2.0, value_loss), WeightedLoss("square", 0.25, square)]
    rollout: Any = Minibatches([[1.0, 0.0, 0.0]])
    means = own.update(rollout, losses, resolved(), 0, 0)
    assert weights(own) == [1.0 - (2.0 + 0.25 * 2 * 1.0), -2.0, 3.0]
    assert means == {
        "loss/total": (2.25, 1.0),
        "train/grad_norm": (2.5, 1.0),
        "loss/plain/mean": (1.0, 1.0),
        "train/double": (2.0, 1.0),
        "loss/square/square": (1.0, 1.0),
    }


def test_means_are_weighted_by_the_size_of_each_minibatch() -> None:
    own = learner(Builder(optim.SGD, {"lr": 0.0}))
    means = update(own, Minibatches([[1.0, 0.0, 0.0]] * 3, [[0.0, 0.0, 3.0]]))
    assert means["loss/own/mean"] == ((3 * 1.0 + 9.0) / 4, 4.0)


@pytest.mark.parametrize("poison", [math.nan, math.inf])
def test_a_loss_that_is_not_finite_stops_before_the_optimizer_steps(poison: float) -> None:
    own = learner(Builder(optim.Adam, {"lr": 1.0}))
    with pytest.raises(NonFiniteError, match=r"loss = (nan|inf)"):
        update(own, Minibatches([[poison, 0.0, 0.0]]))
    assert weights(own) == START
    assert own.optimizer.state_dict()["state"][0]["step"] == 0


@pytest.mark.parametrize("max_grad_norm", [None, 0.5])
@pytest.mark.parametrize("norm_type", [math.inf, 2.0])
def test_a_gradient_that_is_not_finite_stops_and_is_named(max_grad_norm: float | None, norm_type: float) -> None:
    def infinitely_steep(batch: Batch, output: ActorCriticOutput) -> LossOutput:
        return LossOutput((output.values - output.values.detach()).abs().sqrt().mean(), {})

    own = learner()
    with pytest.raises(NonFiniteError, match=r"loss = 0\.0; first bad gradient: weights"):
        update(
            own,
            Minibatches([[1.0, 1.0, 1.0]]),
            infinitely_steep,
            max_grad_norm=max_grad_norm,
            grad_norm_type=norm_type,
        )
    assert weights(own) == START


@pytest.mark.parametrize(
    ("loss", "message"),
    [
        (lambda batch, output: LossOutput(output.values.mean().detach(), {}), "'own' has no graph"),
        (lambda batch, output: LossOutput(torch.tensor(1.0), {}), "'own' has no graph"),
        (lambda batch, output: output.values.mean(), "the loss 'own' returned tensor"),
        (lambda batch, output: LossOutput(1.0, {}), "the loss 'own' returned LossOutput"),
        (lambda batch, output: None, "the loss 'own' returned None"),
        (lambda batch, output: LossOutput(output.values, {}), r"the loss 'own' .*\(1, 2\)"),
    ],
)
def test_what_is_no_loss_is_refused(loss: Any, message: str) -> None:
    own = learner()
    with pytest.raises(ExperimentError, match=message):
        update(own, Minibatches([[1.0, 0.0, 0.0], [2.0, 0.0, 0.0]]), loss)
    assert weights(own) == START


class Fragile(Vector):
    """Raises where its parameters are not finite, as torch.distributions does."""

    def forward(self, observations: Tensor, memory: Tensor | None, masks: Tensor) -> ActorCriticOutput:
        if not self.weights.isfinite().all():
            raise ValueError("the parameters are not finite")
        return super().forward(observations, memory, masks)


@pytest.mark.parametrize("model", [Vector, Fragile])
@pytest.mark.parametrize("poison", [math.nan, 0.0])
def test_who_looks_later_ends_as_who_looks_each_time(model: type[Vector], poison: float) -> None:
    rollout = Minibatches([[1.0, 0.0, 0.0]], [[poison, 1.0, 0.0]], [[1.0, 0.0, 1.0]])
    found = []
    for looks_later in (False, True):
        own = Learner(model(), Builder(optim.Adam, {"lr": 0.5}), None, SingleWorker(), seed=1)
        own.looks_later = looks_later
        said: Any
        try:
            said = update(own, rollout)
        except NonFiniteError as error:
            said = str(error), error.evidence.batch["observations"].tolist()  # type: ignore[union-attr]
        found.append((repr(said), weights(own), repr(own.state_dict()["optimizer"])))
    assert found[0] == found[1]
    assert ("loss = nan" in found[0][0]) == math.isnan(poison)
    assert found[0][1] != START  # the first minibatch was learned from


class HostReads(TorchDispatchMode):
    """Counts operations for which the host would have to wait for a GPU: whose outcome is a number or a shape."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.count = 0

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        return False  # or torch imports its compiler to skip it

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.count += bool({torch.Tag.data_dependent_output, torch.Tag.dynamic_output_shape} & set(func.tags))
        return func(*args, **(kwargs or {}))


@pytest.mark.parametrize("looks_later", [False, True])
def test_who_looks_later_reads_as_many_numbers_for_many_minibatches_as_for_few(looks_later: bool) -> None:
    own = Learner(model_of(), Builder(optim.Adam, {"lr": 0.1}), None, SingleWorker(), seed=1)
    own.looks_later, own._make_gradients = looks_later, Gradients  # as on a GPU, where nothing is recorded
    rollout, losses, reads = filled_rollout(), [WeightedLoss("ppo", 1.0, PPO())], []
    for repeats in (1, 3):
        with HostReads() as found:
            own.update(rollout, losses, resolved(update_repeats=repeats, num_mini_batch=2, max_grad_norm=0.5), 0, 0)
        reads.append(found.count)
    assert (reads[0] == reads[1]) == looks_later


def test_parameters_that_need_no_gradient_are_not_the_optimizers() -> None:
    model = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2))
    model[0].requires_grad_(False)
    own = Learner(model, Builder(optim.SGD, {"lr": 0.5}), None, SingleWorker(), seed=1)
    assert [parameter is model[1].weight for parameter in own.parameters] == [True, False]


def test_optimizers_are_fused_unless_the_user_says_otherwise() -> None:
    def is_fused(**arguments: Any) -> Any:
        return learner(Builder(optim.Adam, {"lr": 1e-3, **arguments})).optimizer.defaults["fused"]

    assert is_fused() is True
    assert is_fused(fused=False) is False
    assert not is_fused(foreach=True)
    assert "fused" not in learner(Builder(optim.RMSprop, {"lr": 1e-3})).optimizer.defaults


def test_a_learner_that_was_saved_goes_on_with_the_same_bits() -> None:
    builder = Builder(optim.Adam, {"lr": 0.1})
    rollout = Minibatches([[3.0, 4.0, 0.0]], [[1.0, -1.0, 5.0]])
    own, again = learner(builder), learner(builder)
    update(own, rollout)
    again.model.load_state_dict(own.model.state_dict())
    again.load_state_dict(copy.deepcopy(own.state_dict()))
    update(own, rollout)
    update(again, rollout)
    assert weights(own) == weights(again)


def test_a_restarted_optimizer_has_forgotten_its_moments() -> None:
    own = learner(Builder(optim.Adam, {"lr": 0.1}))
    update(own, Minibatches([[3.0, 4.0, 0.0]]))
    own.restart_optimizer()
    state = own.optimizer.state_dict()["state"][0]
    assert [state[name].abs().sum() for name in ("step", "exp_avg", "exp_avg_sq")] == [0, 0, 0]
    assert own.learning_rate == 0.1


def test_statistics_of_nothing_are_empty() -> None:
    assert Statistics().means() == {}
