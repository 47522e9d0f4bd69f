from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from trainctl.core.engine.learning.tape import NotRepeatable, record


def gradient_of(function: Callable[[Tensor], Tensor]) -> Callable[[Tensor], list[Tensor]]:
    def both(weight: Tensor) -> list[Tensor]:
        value = function(weight)
        return [value, *torch.autograd.grad(value, [weight])]

    return both


@pytest.mark.parametrize(
    "function",
    [
        lambda x: torch.tanh(F.linear(x, x, x[0])).square().mean(),
        lambda x: (x.softmax(dim=-1) * torch.arange(3)).sum() / 0.3,
        lambda x: F.max_pool2d(F.conv2d(x.view(1, 1, 3, 3), x[:2, :2].reshape(1, 1, 2, 2)), 2).sum(),
        lambda x: torch.stack([part.exp() for part in x.split(1)]).clamp(max=2.0).log().sum(),
        lambda x: torch.where(x > 0.5, x, float("-inf")).logsumexp(dim=(0, 1)),
        lambda x: x.double().cumsum(dim=1).sum().float(),
        lambda x: torch.stack([part.exp() for part in x.view(1, 9).unbind()]).sum(),
    ],
    ids=["matrix", "softmax", "convolution", "lists", "infinity", "another type", "a list of one"],
)
def test_what_is_recorded_gives_the_same_bits_with_other_inputs(function: Callable[[Tensor], Tensor]) -> None:
    torch.manual_seed(0)
    both = gradient_of(function)
    try:
        repeat = record(both, [torch.rand(3, 3, requires_grad=True)])
    except NotRepeatable:
        pytest.fail("it can be repeated")
    other = torch.rand(3, 3, requires_grad=True)
    found = repeat(other)
    assert all(torch.equal(one, expected) for one, expected in zip(found, both(other), strict=True))


def test_a_tensor_that_is_named_once_more_and_changed_gives_the_same_bits() -> None:
    def function(x: Tensor) -> list[Tensor]:
        changed = x.clone()
        before = changed.detach()
        changed.detach().add_(1)
        return [before * 2, x.view(3, 3).t().t() + 1]

    repeat = record(function, [torch.rand(3, 3)])
    other = torch.rand(3, 3)
    assert all(torch.equal(one, expected) for one, expected in zip(repeat(other), function(other), strict=True))


CONSTANT = torch.ones(3)


def changed_as_a_list(x: Tensor) -> Tensor:
    """By an operation that TorchScript takes for one without effect."""
    doubled = x * 2
    torch._foreach_add_([doubled], 1.0)
    return doubled


@pytest.mark.parametrize(
    "function",
    [
        lambda x: F.dropout(x, 0.5).sum(),
        lambda x: x.sum() if float(x.sum().detach()) > 0 else x.mean(),
        lambda x: x[x > 0].sum(),
        lambda x: (x * CONSTANT).sum(),
        lambda x: changed_as_a_list(x).sum(),
    ],
    ids=["random numbers", "Python decides", "a shape that depends on numbers", "a tensor from elsewhere", "a list"],
)
def test_what_need_not_repeat_itself_is_not_recorded(function: Callable[[Tensor], Tensor]) -> None:
    with pytest.raises(NotRepeatable):
        record(gradient_of(function), [torch.ones(3, 3, requires_grad=True)])
