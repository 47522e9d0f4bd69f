"""Convolutions and pooling over a few cells, for the compiler: the same numbers up to rounding, sooner."""

from __future__ import annotations

from collections.abc import Sequence
from functools import reduce
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn import functional as F
from torch.overrides import TorchFunctionMode

FEW = 36
"""Cells of the largest image that is computed otherwise: of a convolution's outcome, of what is pooled."""

A_VECTOR = 8
"""Numbers that a processor computes at once."""


class SmallImages(TorchFunctionMode):
    """Within this context `conv2d` over few cells is one matrix product, of the patches with the kernels, and
    `max_pool2d` of few cells compares them, where its windows do not overlap."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        given = kwargs or {}
        if func is torch.conv2d and not given and is_small(*args):
            return as_product(*args)
        if func is F.max_pool2d and is_small_pooling(*args, **given):
            return as_comparisons(args[0], _pair(args[1]))
        return func(*args, **given)


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
    patches = _patches(cells, kernel.shape[2:], (down, right), (height, width))
    weights = kernel.permute(2, 3, 1, 0).flatten(0, 2)
    found = patches.flatten(0, 2) @ weights if bias is None else torch.addmm(bias, patches.flatten(0, 2), weights)
    return found.view(len(images), height, width, -1).movedim(-1, 1)


def _patches(cells: Tensor, kernel: Sequence[int], step: tuple[int, int], size: tuple[int, int]) -> Tensor:
    """What the kernel sees at each place of (N, H, W, C), as (N, H', W', h × w × C)."""
    (height, width), (down, right), (rows, columns) = kernel, step, size
    channels = cells.shape[-1]
    if channels < A_VECTOR and not cells.requires_grad:  # slices of so few numbers take five times as long
        cells = cells.contiguous()
        image, row, cell, _ = cells.stride()
        shape, strides = (height, width * channels), (image, down * row, right * cell, row, 1)
        return cells.as_strided((len(cells), rows, columns, *shape), strides).flatten(3)
    ends = down * (rows - 1) + 1, right * (columns - 1) + 1
    seen = [cells[:, i : i + ends[0] : down, j : j + ends[1] : right] for i in range(height) for j in range(width)]
    return torch.cat(seen, dim=-1)


def is_small_pooling(
    images: Tensor,
    kernel_size: Any,
    stride: Any = None,
    padding: Any = 0,
    dilation: Any = 1,
    ceil_mode: bool = False,
    return_indices: bool = False,
) -> bool:
    """Whether this pooling of (N, C, H, W) looks at each of few cells once."""
    if images.dim() != 4 or ceil_mode or return_indices or images.shape[2] * images.shape[3] > FEW:
        return False
    size = _pair(kernel_size)
    is_plain = (_pair(padding), _pair(dilation)) == ((0, 0), (1, 1)) and _pair(stride or size) == size
    return is_plain and images.shape[2] >= size[0] and images.shape[3] >= size[1]


def as_comparisons(images: Tensor, size: tuple[int, int]) -> Tensor:
    """The largest of each window of (N, C, H, W): (N, C, H // height, W // width)."""
    (height, width), (_, _, rows, columns) = size, images.shape
    cells = images.movedim(1, -1)[:, : rows - rows % height, : columns - columns % width]
    windows = cells.unflatten(2, (-1, width)).unflatten(1, (-1, height))
    cells_of_windows = (cell for row in windows.unbind(2) for cell in row.unbind(3))
    largest: Tensor = Largest.apply(*cells_of_windows)  # type: ignore[no-untyped-call]
    return largest.movedim(-1, 1)


class Largest(torch.autograd.Function):
    """The largest of several numbers, element by element. The gradient goes to the first of equals."""

    @staticmethod
    def forward(*given: Tensor) -> Tensor:
        return reduce(torch.maximum, given)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        ctx.save_for_backward(output, *inputs)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, ...]:
        largest, *given = ctx.saved_tensors
        found = []
        for one in given:
            found.append(torch.where(one == largest, gradient, 0))
            gradient = torch.where(one == largest, 0, gradient)
        return tuple(found)


def _size(images: Tensor, kernel: Tensor, stride: tuple[int, int], padding: tuple[int, int]) -> tuple[int, int]:
    height = (images.shape[2] + 2 * padding[0] - kernel.shape[2]) // stride[0] + 1
    return height, (images.shape[3] + 2 * padding[1] - kernel.shape[3]) // stride[1] + 1


def _pair(value: Any) -> tuple[int, int]:
    first, second = value if isinstance(value, (tuple, list)) else (value, value)
    return int(first), int(second)
