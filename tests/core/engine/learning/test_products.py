from __future__ import annotations

import pytest
import torch
from torch import nn

from trainctl.core.engine.learning.products import FEW, SmallConvolutionsAsProducts, is_small


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
    with SmallConvolutionsAsProducts():
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
    with torch.profiler.profile() as profile, SmallConvolutionsAsProducts():
        nn.functional.conv2d(torch.zeros(1, 1, 3, 3), kernel)
    seen = [event.key for event in profile.key_averages()]
    assert "aten::mm" in seen
    assert "aten::conv2d" not in seen
