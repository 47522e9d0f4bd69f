"""Convolutions over a few cells as matrix products: the same numbers up to rounding, sooner."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F
from torch.overrides import TorchFunctionMode

FEW = 36
"""Cells of the largest outcome that is computed as a product."""


class SmallConvolutionsAsProducts(TorchFunctionMode):
    """Within this context `conv2d` over few cells is one matrix product, of the patches with the kernels."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func is torch.conv2d and not kwargs and is_small(*args):
            return as_product(*args)
        return func(*args, **(kwargs or {}))


def is_small(
    images: Tensor,
    kernel: Tensor,
    bias: Any = None,
    stride: Any = 1,
    padding: Any = 0,
    dilation: Any = 1,
    groups: int = 1,
) -> bool:
    """Whether this convolution of (N, C, H, W) gives few cells, and is as plain as `as_product` wants it."""
    if images.dim() != 4 or isinstance(padding, str) or groups != 1 or _pair(dilation) != (1, 1):
        return False
    height, width = _size(images, kernel, _pair(stride), _pair(padding))
    return height * width <= FEW


def as_product(
    images: Tensor, kernel: Tensor, bias: Tensor | None = None, stride: Any = 1, padding: Any = 0, *rest: Any
) -> Tensor:
    """The convolution of (N, C, H, W) with a kernel (O, C, h, w): (N, O, H', W')."""
    (down, right), (above, left) = _pair(stride), _pair(padding)
    height, width = _size(images, kernel, (down, right), (above, left))
    cells = F.pad(images, (left, left, above, above)).movedim(1, -1)
    rows, columns = down * (height - 1) + 1, right * (width - 1) + 1
    patches = torch.cat(
        [
            cells[:, i : i + rows : down, j : j + columns : right]
            for i in range(kernel.shape[2])
            for j in range(kernel.shape[3])
        ],
        dim=-1,
    )
    weights = kernel.permute(2, 3, 1, 0).flatten(0, 2)
    found = patches.flatten(0, 2) @ weights if bias is None else torch.addmm(bias, patches.flatten(0, 2), weights)
    return found.view(len(images), height, width, -1).movedim(-1, 1)


def _size(images: Tensor, kernel: Tensor, stride: tuple[int, int], padding: tuple[int, int]) -> tuple[int, int]:
    height = (images.shape[2] + 2 * padding[0] - kernel.shape[2]) // stride[0] + 1
    return height, (images.shape[3] + 2 * padding[1] - kernel.shape[3]) // stride[1] + 1


def _pair(value: Any) -> tuple[int, int]:
    first, second = value if isinstance(value, (tuple, list)) else (value, value)
    return int(first), int(second)
