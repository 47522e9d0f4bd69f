from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from torch import Tensor, nn, optim

from trainctl.core.engine.learning.optimizer_steps import OptimizerSteps, WholeAdamSteps, steps_of
from trainctl.core.engine.learning.weights import Weights

SETTINGS: list[tuple[type[optim.Adam], dict[str, Any]]] = [
    (optim.Adam, {"lr": 0.01}),
    (optim.Adam, {"lr": 0.01, "betas": (0.5, 0.9), "eps": 0.1, "weight_decay": 0.1, "maximize": True}),
    (optim.AdamW, {"lr": 0.01, "weight_decay": 0.1}),
]


def network() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(3, 5), nn.Tanh(), nn.Linear(5, 2))


def loss_of(model: nn.Sequential, step: int) -> Tensor:
    """Every third step leaves the last layer out."""
    features = model[:2](torch.linspace(-1, 1, 12).view(4, 3) * (step + 1))
    return (features if step % 3 == 2 else model[2](features)).square().sum()


@pytest.mark.parametrize(("kind", "settings"), SETTINGS)
def test_steps_on_one_vector_are_those_of_torch(kind: type[optim.Adam], settings: dict[str, Any]) -> None:
    ours, theirs = network(), network()
    weights, optimizer = Weights(ours), kind(ours.parameters(), fused=True, **settings)
    steps, reference = steps_of(optimizer, weights), kind(theirs.parameters(), **settings)
    assert isinstance(steps, WholeAdamSteps)
    for step in range(8):
        weights.backward(loss_of(ours, step))
        steps.step()
        reference.zero_grad()
        loss_of(theirs, step).backward()
        reference.step()
        for own, other in zip(ours.parameters(), theirs.parameters(), strict=True):
            torch.testing.assert_close(own, other)
    counts = [int(state["step"]) for state in optimizer.state_dict()["state"].values()]
    assert counts == [8, 8, 6, 6]


def test_a_loaded_optimizer_goes_on_with_the_same_bits() -> None:
    model = network()
    weights, optimizer = Weights(model), optim.Adam(model.parameters(), lr=0.1, fused=True)
    steps = steps_of(optimizer, weights)
    weights.backward(loss_of(model, 0))
    steps.step()
    saved = copy.deepcopy((model.state_dict(), optimizer.state_dict()))
    weights.backward(loss_of(model, 1))
    steps.step()

    again = network()
    own, other = Weights(again), optim.Adam(again.parameters(), lr=0.1, fused=True)
    again.load_state_dict(saved[0])
    other.load_state_dict(saved[1])
    steps = steps_of(other, own)
    own.backward(loss_of(again, 1))
    steps.step()
    assert torch.equal(own.vectors[0], weights.vectors[0])


@pytest.mark.parametrize(
    "make",
    [
        lambda parameters: optim.SGD(parameters, lr=0.1),
        lambda parameters: optim.Adam(parameters, lr=0.1, amsgrad=True, fused=True),
        lambda parameters: optim.Adam(parameters, lr=0.1, foreach=True),
    ],
    ids=["SGD", "amsgrad", "not fused"],
)
def test_other_optimizers_make_their_steps_themselves(make: Any) -> None:
    model = network()
    weights, optimizer = Weights(model), make(model.parameters())
    steps = steps_of(optimizer, weights)
    assert type(steps) is OptimizerSteps
    before = weights.vectors[0].clone()
    weights.backward(loss_of(model, 0))
    steps.step()
    assert not torch.equal(weights.vectors[0], before)
