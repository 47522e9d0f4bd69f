from __future__ import annotations

import math
from contextlib import nullcontext

import numpy as np
import pytest
import torch
from torch import nn

from trainctl.core.engine.learning.small_images import FEW, SmallImages, is_small


@pytest.mark.parametrize(
    ("size", "arguments"),
    [
        ((3, 2), {"kernel_size": 2}),
        ((5, 7), {"kernel_size": (2, 3), "stride": (1, 2)}),
        ((4, 4), {"kernel_size": 3, "padding": (1, 0), "bias": False}),
        ((7, 7), {"kernel_size": 2, "groups": 2}),
        ((7, 7), {"kernel_size": 2, "dilation": 2}),
        ((5, 5), {"kernel_size": 3, "padding": "same"}),
        ((20, 20), {"kernel_size": 3}),
    ],
)
def test_a_convolution_in_the_context_gives_the_same_numbers_and_gradients(
    size: tuple[int, int], arguments: dict
) -> None:  # type: ignore[type-arg]
    torch.manual_seed(0)
    layer = nn.Conv2d(4, 6, **arguments).double()
    images = torch.randn(3, 4, *size, dtype=torch.float64, requires_grad=True)
    plain = layer(images)
    with SmallImages():
        other = layer(images)
    weight = torch.randn_like(plain)
    torch.testing.assert_close(other, plain)
    inputs = [images, *layer.parameters()]
    for one, expected in zip(
        torch.autograd.grad((other * weight).sum(), inputs),
        torch.autograd.grad((plain * weight).sum(), inputs),
        strict=True,
    ):
        torch.testing.assert_close(one, expected)


def test_only_what_has_few_cells_becomes_a_product() -> None:
    kernel = torch.zeros(1, 1, 2, 2)
    side = int(FEW**0.5)
    assert is_small(torch.zeros(1, 1, side + 1, side + 1), kernel)
    assert not is_small(torch.zeros(1, 1, side + 2, side + 1), kernel)
    seen: list[str] = []
    with torch.profiler.profile() as profile, SmallImages():
        nn.functional.conv2d(torch.zeros(1, 1, 3, 3), kernel)
    seen = [event.key for event in profile.key_averages()]
    assert "aten::mm" in seen
    assert "aten::conv2d" not in seen


@pytest.mark.parametrize(
    ("size", "arguments"),
    [
        ((6, 6), {"kernel_size": 2}),
        ((5, 6), {"kernel_size": (2, 3)}),
        ((3, 5), {"kernel_size": 2, "stride": 2}),
        ((6, 6), {"kernel_size": 3, "stride": 2}),
        ((6, 6), {"kernel_size": 2, "padding": 1}),
        ((5, 5), {"kernel_size": 2, "ceil_mode": True}),
        ((8, 8), {"kernel_size": 2}),
    ],
)
def test_pooling_in_the_context_gives_the_same_numbers_and_gradients(
    size: tuple[int, int],
    arguments: dict,  # type: ignore[type-arg]
) -> None:
    torch.manual_seed(0)
    images = torch.randint(0, 3, (4, 2, *size)).double()  # many equals
    images[0, 0, 1, 0] = math.nan
    images.requires_grad_()
    found, gradients = [], []
    for context in (nullcontext(), SmallImages()):
        with context:
            pooled = nn.functional.max_pool2d(images, **arguments)
        weight = torch.arange(pooled.numel()).view(pooled.shape)
        found.append(pooled.detach().numpy())
        gradients.append(torch.autograd.grad((pooled * weight).nansum(), images)[0].nan_to_num(-1.0))
    np.testing.assert_array_equal(*found)
    inside = ~images.isnan()
    assert torch.equal(gradients[0][inside], gradients[1][inside])


def test_pooling_of_few_cells_is_compared() -> None:
    with torch.profiler.profile() as profile, SmallImages():
        nn.functional.max_pool2d(torch.zeros(1, 1, 4, 4), 2)
    seen = [event.key for event in profile.key_averages()]
    assert "aten::maximum" in seen
    assert "aten::max_pool2d" not in seen
