"""Convolutions for images."""

from __future__ import annotations

from typing import Any

import gymnasium
import torch
from gymnasium import spaces
from torch import Tensor, nn
from torch.nn import functional as F

from ..errors import ExperimentError
from .layers import orthogonal

NATURE = ((32, 8, 4), (64, 4, 2), (64, 3, 1))
"""Channels, kernel and stride of the layers in Mnih et al. 2015, "Human-level control through deep reinforcement
learning". The smallest image they fit is 36 × 36."""

SMALL = ((16, 3, 1), (32, 3, 2), (64, 3, 2))
"""For images with a side below 36. The smallest image they fit is 11 × 11."""

TINY = ((16, 2, 1), (32, 2, 1), (64, 2, 1))
"""For images with a side below 11. The smallest image they fit is 4 × 4."""


def is_image(space: gymnasium.Space[Any]) -> bool:
    """Whether the space is a Box of three dimensions, or a uint8 Box of two with at least 8 rows and columns."""
    if not isinstance(space, spaces.Box):
        return False
    return len(space.shape) == 3 or (len(space.shape) == 2 and space.dtype == "uint8" and min(space.shape) >= 8)


def channels_come_first(shape: tuple[int, ...]) -> bool:
    """Whether an image of this shape (three dimensions) has its channels first.

    The smaller one of the first and the last dimension is taken for the channels: (4, 84, 84) has them first,
    (84, 84, 3) and (7, 7, 3) last. Where both are equal, they are last.
    """
    return shape[0] < shape[-1]


class ImageEncoder(nn.Module):
    """Images (T, B, …) of the shape of the space → features (T, B, features).

    Channels may be first or last (see `channels_come_first`); a shape of two dimensions has one channel. Images of
    uint8 are scaled to [0, 1], others are taken as they are. Raises `ExperimentError` for sides below 4.
    """

    def __init__(self, space: spaces.Box, features: int) -> None:
        super().__init__()
        shape = space.shape if len(space.shape) == 3 else (*space.shape, 1)
        self.shape = shape
        scale = 1 / 255 if space.dtype == "uint8" else 1.0
        self.channels_first = channels_come_first(shape)
        channels, height, width = shape if self.channels_first else (shape[2], shape[0], shape[1])
        layers: list[nn.Module] = []
        for size, kernel, stride in _layers_for(space, min(height, width)):
            layers += [orthogonal(ScaledConvolution(scale, channels, size, kernel, stride)), nn.ReLU()]
            channels, height, width = size, (height - kernel) // stride + 1, (width - kernel) // stride + 1
            scale = 1.0
        layers += [nn.Flatten(), orthogonal(nn.Linear(channels * height * width, features)), nn.ReLU()]
        self.layers = nn.Sequential(*layers)

    def forward(self, images: Tensor) -> Tensor:
        """Features (T, B, features)."""
        steps, sequences = images.shape[:2]
        images = images.reshape(-1, *self.shape)
        if not self.channels_first:
            images = images.movedim(-1, 1)
        # channels_last in memory: learning is a fifth faster on a CPU
        features: Tensor = self.layers(images.to(torch.float32, memory_format=torch.channels_last))
        return features.view(steps, sequences, -1)


class ScaledConvolution(nn.Conv2d):
    """A convolution over scale × its input; it is the weights that are multiplied, as they are fewer."""

    def __init__(self, scale: float, inside: int, outside: int, kernel: int, stride: int) -> None:
        super().__init__(inside, outside, kernel, stride)
        self.scale = scale

    def forward(self, maps: Tensor) -> Tensor:
        """Maps (N, channels, height, width)."""
        weight = self.weight if self.scale == 1 else self.weight * self.scale
        return F.conv2d(maps, weight, self.bias, self.stride)


def _layers_for(space: spaces.Box, side: int) -> tuple[tuple[int, int, int], ...]:
    for smallest, layers in ((36, NATURE), (11, SMALL), (4, TINY)):
        if side >= smallest:
            return layers
    raise ExperimentError(
        f"CNNActorCritic cannot read the space {space}: its sides must have at least 4 pixels",
        "use MLPActorCritic with gymnasium.wrappers.FlattenObservation",
    )
