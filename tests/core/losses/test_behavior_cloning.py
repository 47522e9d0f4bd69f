from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from trainctl.core.distributions import Categorical, DiagonalGaussian, MultiCategorical
from trainctl.core.model import ActorCriticOutput
from trainctl.losses import BehaviorCloning


class Constant(nn.Module):
    """The same distribution at every step; its memory counts the steps of the episode."""

    def __init__(self, distribution: Any) -> None:
        super().__init__()
        self.distribution = distribution

    def forward(self, observations: Tensor, memory: Tensor | None, masks: Tensor) -> ActorCriticOutput:
        count = torch.zeros(masks.shape[1], 1) if memory is None else memory
        for mask in masks:
            count = count * mask[:, None] + 1
        return ActorCriticOutput(self.distribution, torch.zeros_like(masks), count)


def batch(actions: Tensor, valid: list[list[bool]]) -> Any:
    shape = actions.shape[:2]
    masks = torch.ones(shape)
    masks[0] = 0
    return {
        "observations": torch.zeros(*shape, 1),
        "actions": actions,
        "rewards": torch.zeros(shape),
        "masks": masks,
        "valid": torch.tensor(valid),
    }


def test_the_loss_is_the_mean_cross_entropy_of_the_steps_that_are_data() -> None:
    probabilities = torch.tensor([0.5, 0.25, 0.25]).log().expand(2, 2, 3)
    actions = torch.tensor([[0, 1], [1, 2]])
    found = BehaviorCloning()(
        Constant(Categorical(probabilities)), batch(actions, [[True, True], [True, False]]), None, 0
    )
    assert found.value.item() == pytest.approx((math.log(2) + 2 * math.log(4)) / 3)
    assert found.info["accuracy"].item() == pytest.approx(1 / 3)
    assert found.batch_size == 3


def test_memory_goes_on_from_batch_to_batch() -> None:
    model, loss = Constant(Categorical(torch.zeros(2, 1, 3))), BehaviorCloning()
    first = batch(torch.zeros(2, 1, dtype=torch.int64), [[True], [True]])
    second = {**first, "masks": torch.ones(2, 1)}
    memory = loss(model, first, None, 0).memory
    assert memory is not None
    assert memory.item() == 2
    again = loss(model, second, memory, 0).memory
    assert again is not None
    assert again.item() == 4


@pytest.mark.parametrize(
    ("distribution", "actions", "wanted", "accuracy"),
    [
        (MultiCategorical(torch.zeros(1, 1, 5), [2, 3]), torch.tensor([[[0, 0]]]), math.log(6), 1.0),
        (MultiCategorical(torch.zeros(1, 1, 5), [2, 3]), torch.tensor([[[0, 2]]]), math.log(6), 0.0),
        (DiagonalGaussian(torch.zeros(1, 1, 2), torch.zeros(2)), torch.ones(1, 1, 2), 1 + math.log(2 * math.pi), 0.0),
    ],
)
def test_all_kinds_of_actions_are_cloned(distribution: Any, actions: Tensor, wanted: float, accuracy: float) -> None:
    found = BehaviorCloning()(Constant(distribution), batch(actions, [[True]]), None, 0)
    assert found.value.item() == pytest.approx(wanted)
    assert found.info["accuracy"].item() == accuracy


def test_it_learns_what_is_demonstrated() -> None:
    logits = nn.Parameter(torch.zeros(1, 8, 3))
    model, optimizer = Constant(Categorical(logits)), torch.optim.SGD([logits], 1.0)
    shown = batch(torch.arange(8).view(1, 8) % 3, [[True] * 8])
    losses = []
    for _ in range(200):
        found = BehaviorCloning()(Constant(Categorical(logits)), shown, None, 0)
        optimizer.zero_grad()
        found.value.backward()
        optimizer.step()
        losses.append(found.value.item())
    assert losses[-1] < 0.1 * losses[0]
    assert BehaviorCloning()(model, shown, None, 0).info["accuracy"].item() == 1.0
