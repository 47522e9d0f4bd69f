"""MiniGridActorCritic: for the grids, directions and missions of MiniGrid and BabyAI."""

from __future__ import annotations

import math
from typing import Any

import gymnasium
import numpy as np
import torch
from gymnasium import spaces
from torch import Tensor, nn

from ..tree import Tree, flatten
from .composed import EncoderActorCritic
from .layers import HiddenLayers, orthogonal
from .lookup import looked_up
from .vectors import VectorEncoder, leaf_spaces, refuse_space

OBJECTS, COLOURS, STATES = 16, 8, 8
"""How many of each a grid may name; MiniGrid itself has 11, 6 and 4. Higher indices share the last one's place."""

LARGEST_GRID = 32
"""Images with longer sides are pictures, not grids."""


LARGEST_TOKEN = 100_000
"""A bound on the embeddings; an unbounded Box would ask for 2⁶³ of them."""


class MiniGridActorCritic(EncoderActorCritic):
    """Small and fast, for MiniGrid's observations: the dictionary {image, direction, mission}, or the image alone.

    * image: uint8 (height, width, 3), the index of object, colour and state in each cell (Chevalier-Boisvert et al.
      2023, https://arxiv.org/abs/2306.13831). Not the pictures of RGBImgObsWrapper: use CNNActorCritic for those.
    * mission: int64 (length,), token ids in which 0 is padding, read as a bag of words. May be missing.
    * Everything else (direction) is read as `MLPActorCritic` reads it.

    Cells are embedded by what is in them and whether the mission speaks of it; one layer sees all of the grid, a second
    one grid, mission and direction.

    * memory: None, "gru" or "lstm"; memory_size: the size of its output, without effect where memory is None.
    * features: the size of both layers; cell_size: how many numbers describe a cell.

    Raises `ExperimentError` for other observations, among them a mission that is still text.
    """

    def __init__(
        self,
        observation_space: gymnasium.Space[Any],
        action_space: gymnasium.Space[Any],
        memory: str | None = None,
        memory_size: int = 128,
        features: int = 128,
        cell_size: int = 8,
    ) -> None:
        encoder = MiniGridEncoder(observation_space, features, cell_size)
        super().__init__(encoder, features, action_space, memory, memory_size)


class MiniGridEncoder(nn.Module):
    """MiniGrid's observations → features (T, B, features)."""

    def __init__(self, observation_space: gymnasium.Space[Any], features: int, cell_size: int) -> None:
        super().__init__()
        parts = dict(leaf_spaces(observation_space))
        self.image = "image" if "image" in parts else ""
        grid, mission = _grid_space(self.image, parts.get(self.image, observation_space)), parts.get("mission")
        self.mission = MissionEncoder(mission, cell_size) if isinstance(mission, spaces.Box) else None
        read = {self.image, "mission"} if self.mission else {self.image}
        rest = {path: space for path, space in parts.items() if path not in read}
        self.vectors = VectorEncoder(rest, normalize=False, model="MiniGridActorCritic")
        self.cells = CellEncoder(cell_size)
        self.grid = HiddenLayers((math.prod(grid.shape[:2]) * cell_size, features), "relu")
        size = features + self.vectors.size + (self.mission.size if self.mission else 0)
        self.mixing = HiddenLayers((size, features), "relu")

    def forward(self, observations: Tree) -> Tensor:
        """Features (T, B, features)."""
        leaves = flatten(observations)
        cells = self.cells(leaves[self.image])
        parts = []
        if self.mission is not None:
            words, cells = self.mission(leaves["mission"], cells)
            parts.append(words)
        if self.vectors.size:
            parts.append(self.vectors(observations))
        features: Tensor = self.mixing(torch.cat([self.grid(cells.flatten(2)), *parts], dim=-1))
        return features


class CellEncoder(nn.Module):
    """Grids (T, B, height, width, 3) → the embeddings of their cells (T, B, height · width, cell_size).

    The embedding of a cell is the sum of those of its object, colour and state. The sums are made once for all
    combinations and then looked up: on grids this small several times faster than convolutions.
    """

    last: Tensor
    strides: Tensor

    def __init__(self, cell_size: int) -> None:
        super().__init__()
        last = torch.tensor([OBJECTS - 1, COLOURS - 1, STATES - 1], dtype=torch.uint8)
        self.register_buffer("last", last, persistent=False)
        self.register_buffer("strides", torch.tensor([COLOURS * STATES, STATES, 1]), persistent=False)
        self.objects = nn.Parameter(torch.randn(OBJECTS, 1, 1, cell_size))
        self.colours = nn.Parameter(torch.randn(COLOURS, 1, cell_size))
        self.states = nn.Parameter(torch.randn(STATES, cell_size))

    def forward(self, grids: Tensor) -> Tensor:
        """Embeddings (T, B, height · width, cell_size)."""
        known = torch.minimum(grids.flatten(2, 3), self.last)
        combinations = (known * self.strides).sum(dim=-1)
        return looked_up((self.objects + self.colours + self.states).flatten(0, 2), combinations)


class MissionEncoder(nn.Module):
    """Missions (T, B, length) of token ids → the mean of their embeddings (T, B, size), zeros for one without words;
    and cells (T, B, n, cell_size) in the light of it.

    The mission scales and shifts what each cell says (FiLM, Perez et al. 2018, https://arxiv.org/abs/1709.07871), so
    that a cell can tell whether it is what the mission speaks of.
    """

    is_word: Tensor

    def __init__(self, space: spaces.Box, cell_size: int, size: int = 32) -> None:
        super().__init__()
        if not np.issubdtype(space.dtype, np.integer) or len(space.shape) != 1 or space.high.max() > LARGEST_TOKEN:
            advice = f"it needs token ids: an int64 Box (length,) from 0, the padding, to {LARGEST_TOKEN} at most"
            raise refuse_space("MiniGridActorCritic", "mission", space, advice)
        self.size = size
        self.embedding = nn.Embedding(int(space.high.max()) + 1, size, padding_idx=0)
        is_word = torch.arange(self.embedding.num_embeddings)[:, None] > 0
        self.register_buffer("is_word", is_word.float(), persistent=False)
        self.modulation = orthogonal(nn.Linear(size, 2 * cell_size), gain=1.0)

    def forward(self, missions: Tensor, cells: Tensor) -> tuple[Tensor, Tensor]:
        """The words' mean (T, B, size), and the cells in the shape they had."""
        # not embedding_bag, which takes five times as long for so few words; the embedding of padding is zero
        count = (missions > 0).sum(dim=-1, keepdim=True).clamp(min=1)
        words = looked_up(self.embedding.weight * self.is_word, missions).sum(dim=-2) / count
        scale, shift = self.modulation(words).unsqueeze(-2).chunk(2, dim=-1)
        return words, torch.relu(cells * (1 + scale) + shift)


def _grid_space(path: str, space: gymnasium.Space[Any]) -> spaces.Box:
    advice = "it needs MiniGrid's image: uint8 (height, width, 3) of object, colour and state"
    if not isinstance(space, spaces.Box) or space.dtype != np.uint8 or len(space.shape) != 3 or space.shape[2] != 3:
        raise refuse_space("MiniGridActorCritic", path, space, advice)
    if max(space.shape) > LARGEST_GRID:
        advice = f"{advice}, at most {LARGEST_GRID} cells a side; use CNNActorCritic for pictures"
        raise refuse_space("MiniGridActorCritic", path, space, advice)
    return space
