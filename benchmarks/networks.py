"""What the networks of the workloads begin with, the same for everybody: observations (B, …) → features (B, size)."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class GridTrunk(nn.Module):
    """Three convolutions over MiniGrid's grid (B, 7, 7, 3), or with the channels first."""

    repeats_itself = True  # see docs/how-to.md
    size = 64

    def __init__(self) -> None:
        super().__init__()
        first = [nn.Conv2d(3, 16, 2), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(16, 32, 2), nn.ReLU()]
        self.layers = nn.Sequential(*first, nn.Conv2d(32, 64, 2), nn.ReLU(), nn.Flatten())

    def forward(self, grids: Tensor) -> Tensor:
        features: Tensor = self.layers(grids.movedim(-1, 1).float() if grids.shape[-1] == 3 else grids.float())
        return features


class CellEmbeddings(nn.Module):
    """Eight numbers each for the object, the colour and the state of every cell (B, 5, 5, 3), side by side.

    This is all that AllenAct's `MiniGridSimpleConvRNN` has below its recurrent layer, its name notwithstanding.
    """

    repeats_itself = True  # see docs/how-to.md
    size = 5 * 5 * 3 * 8

    def __init__(self) -> None:
        super().__init__()
        self.embeddings = nn.ModuleList(nn.Embedding(count, 8) for count in (11, 6, 4))

    def forward(self, grids: Tensor) -> Tensor:
        cells = grids if grids.shape[-1] == 3 else grids.movedim(1, -1)
        parts = [embed(cells[..., i].long()) for i, embed in enumerate(self.embeddings)]
        return torch.cat(parts, dim=-1).flatten(1)


class ResidualTrunk(nn.Module):
    """IMPALA's larger network (Espeholt et al. 2018, https://arxiv.org/abs/1802.01561): pictures (B, 4, 84, 84)."""

    repeats_itself = True  # see docs/how-to.md
    size = 256

    def __init__(self, channels: int = 4) -> None:
        super().__init__()
        stages = [_Stage(inside, outside) for inside, outside in ((channels, 16), (16, 32), (32, 32))]
        self.layers = nn.Sequential(*stages, nn.ReLU(), nn.Flatten(), nn.Linear(32 * 11 * 11, self.size), nn.ReLU())

    def forward(self, pictures: Tensor) -> Tensor:
        scaled = pictures / 255 if pictures.dtype == torch.uint8 else pictures
        features: Tensor = self.layers(scaled)
        return features


class _Stage(nn.Sequential):
    repeats_itself = True

    def __init__(self, inside: int, outside: int) -> None:
        convolution = nn.Conv2d(inside, outside, 3, padding=1)
        super().__init__(convolution, nn.MaxPool2d(3, 2, 1), _Residual(outside), _Residual(outside))


class _Residual(nn.Module):
    repeats_itself = True

    def __init__(self, size: int) -> None:
        super().__init__()
        twice = [layer for _ in range(2) for layer in (nn.ReLU(), nn.Conv2d(size, size, 3, padding=1))]
        self.layers = nn.Sequential(*twice)

    def forward(self, maps: Tensor) -> Tensor:
        added: Tensor = maps + self.layers(maps)
        return added
