from __future__ import annotations

from collections.abc import Callable
from contextlib import nullcontext

import pytest
import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn import functional as F

from trainctl.core.engine.learning.cpu_operations import CPUOperations
from trainctl.core.engine.learning.tape import record


def gradients_of(function: Callable[..., Tensor], *inputs: Tensor) -> list[Tensor]:
    own = [one.detach().requires_grad_() for one in inputs]
    return [*torch.autograd.grad(function(*own).square().sum(), own)]


def operations(call: Callable[[], object]) -> list[str]:
    with torch.profiler.profile() as profile:
        call()
    return [event.name for event in profile.events()]


def test_each_of_a_large_layers_products_is_onednns() -> None:
    torch.manual_seed(0)
    inputs = torch.randn(256, 128), torch.randn(64, 128), torch.randn(64)
    expected = gradients_of(F.linear, *(one.double() for one in inputs))
    with CPUOperations():
        found = gradients_of(F.linear, *inputs)
        names = operations(lambda: gradients_of(F.linear, *inputs))
    for one, exact in zip(found, expected, strict=True):
        torch.testing.assert_close(one.double(), exact, rtol=1e-5, atol=1e-3)
    assert names.count("mkldnn::_linear_pointwise") == 3  # the outputs, and two gradients


@pytest.mark.parametrize("kind", [nn.Linear, nn.GRUCell, nn.LSTMCell])
def test_so_are_those_of_layers_that_only_act(kind: type[nn.Module]) -> None:
    torch.manual_seed(0)
    layer, features = kind(256, 256), torch.randn(64, 256)
    names = list(dict(layer.named_parameters()))

    def outputs(features: Tensor, *parameters: Tensor) -> list[Tensor]:
        found = functional_call(layer, dict(zip(names, parameters, strict=True)), (features,))
        return list(found) if isinstance(found, tuple) else [found]

    inputs = [features, *(one.detach() for one in layer.parameters())]
    with torch.no_grad():
        repeat = record(outputs, inputs)
        torch.testing.assert_close(repeat(*inputs), outputs(*inputs))
    called = operations(lambda: repeat(*inputs))
    assert "mkldnn::_linear_pointwise" in called
    assert not {"aten::mm", "aten::addmm"}.intersection(called)


def test_small_layers_are_computed_as_ever() -> None:
    inputs = torch.randn(3, 4), torch.randn(5, 4), torch.randn(5)
    with CPUOperations():
        found = gradients_of(F.linear, *inputs)
    assert all(map(torch.equal, found, gradients_of(F.linear, *inputs)))


@pytest.mark.parametrize("padding", [None, 0])
def test_the_gradient_of_a_users_table_is_the_same(padding: int | None) -> None:
    table, indices = torch.randn(4, 2), torch.tensor([[3, 0, 3], [1, 3, 1]])
    found = []
    for context in (nullcontext(), CPUOperations()):
        with context:
            found.append(gradients_of(lambda own: F.embedding(indices, own, padding_idx=padding), table))
    assert torch.equal(*(one for (one,) in found))
