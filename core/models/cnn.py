"""CNNActorCritic: for observations that are images, or hold some."""

from __future__ import annotations

from typing import Any

import gymnasium
import torch
from gymnasium import spaces
from torch import Tensor, nn

from ..tree import Tree, flatten
from .composed import EncoderActorCritic
from .images import ImageEncoder, is_image
from .vectors import VectorEncoder, leaf_spaces, refuse_space


class CNNActorCritic(EncoderActorCritic):
    """Convolutions, shared by policy and value, for an image or a Dict with images (see `is_image`).

    Each image has its own `ImageEncoder`: the network of Mnih et al. 2015, or smaller layers for images below 36 × 36.
    Everything else in a Dict is read as `MLPActorCritic` reads it and stands beside the images' features.

    * features: how many features each image gives.
    * memory: None, "gru" or "lstm"; memory_size: the size of its output, without effect where memory is None.
    * normalize_observations: standardise the Box parts that are no images by running statistics.

    Raises `ExperimentError` for observations without an image and for spaces it cannot read.
    """

    def __init__(
        self,
        observation_space: gymnasium.Space[Any],
        action_space: gymnasium.Space[Any],
        memory: str | None = None,
        memory_size: int = 512,
        features: int = 512,
        normalize_observations: bool = False,
    ) -> None:
        parts = dict(leaf_spaces(observation_space))
        if not any(is_image(space) for space in parts.values()):
            advice = "it needs an image: a Box of three dimensions, e.g. (84, 84, 3); use MLPActorCritic for vectors"
            raise refuse_space("CNNActorCritic", "", observation_space, advice)
        encoder = ImagesAndVectors(parts, features, normalize_observations)
        super().__init__(encoder, encoder.size, action_space, memory, memory_size)


class ImagesAndVectors(nn.Module):
    """Observations as the features of their images beside the vector of everything else: (T, B, size)."""

    def __init__(self, parts: dict[str, gymnasium.Space[Any]], features: int, normalize: bool) -> None:
        super().__init__()
        images = {path: space for path, space in parts.items() if isinstance(space, spaces.Box) and is_image(space)}
        rest = {path: space for path, space in parts.items() if path not in images}
        self.paths = list(images)
        self.images = nn.ModuleList([ImageEncoder(space, features) for space in images.values()])
        self.vectors = VectorEncoder(rest, normalize, "CNNActorCritic")
        self.size = features * len(images) + self.vectors.size

    def forward(self, observations: Tree) -> Tensor:
        """Features (T, B, size)."""
        leaves = flatten(observations)
        parts = [encoder(leaves[path]) for path, encoder in zip(self.paths, self.images, strict=True)]
        if self.vectors.size:
            parts.append(self.vectors(observations))
        return parts[0] if len(parts) == 1 else torch.cat(parts, dim=-1)
