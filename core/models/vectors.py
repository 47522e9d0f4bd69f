"""From observations that are numbers, choices or dictionaries of them to one vector a step."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Any

import gymnasium
import torch
from gymnasium import spaces
from torch import Tensor, nn

from ..errors import ExperimentError
from ..tree import Tree, flatten
from .normalization import BoxVector, ObservationNormalizer


def leaf_spaces(space: gymnasium.Space[Any], path: str = "") -> Iterator[tuple[str, gymnasium.Space[Any]]]:
    """The spaces in a (nested) Dict by their path, as `tree.flatten` names them; ("", space) for any other space."""
    if isinstance(space, spaces.Dict):
        for key, part in space.items():
            yield from leaf_spaces(part, f"{path}.{key}" if path else str(key))
    else:
        yield path, space


def refuse_space(model: str, path: str, space: gymnasium.Space[Any], advice: str) -> ExperimentError:
    """The error for an observation, or the part of one at `path`, that a model has no use for."""
    part = f" in the part {path!r} of the observation" if path else ""
    return ExperimentError(f"{model} cannot read the space {space}{part}", advice)


class OneHot(nn.Module):
    """Choices as vectors with a 1 for each choice: Discrete (…) → (…, n), MultiDiscrete (…, k) → (…, sum of sizes)."""

    choices: Tensor
    owners: Tensor

    def __init__(self, space: spaces.Discrete | spaces.MultiDiscrete) -> None:
        super().__init__()
        if isinstance(space, spaces.Discrete):
            space = spaces.MultiDiscrete([int(space.n)], start=[int(space.start)])
        ranges = [range(first, first + n) for first, n in zip(space.start.flat, space.nvec.flat, strict=True)]
        choices = torch.tensor([choice for options in ranges for choice in options])
        owners = torch.tensor([owner for owner, options in enumerate(ranges) for _ in options])
        self.several = len(ranges) > 1
        self.size = len(choices)
        self.register_buffer("choices", choices, persistent=False)
        self.register_buffer("owners", owners, persistent=False)

    def forward(self, observations: Tensor) -> Tensor:
        """Vectors (…, size) of zeros and ones, float32; the leading shape is (T, B)."""
        flat = observations.reshape(*observations.shape[:2], -1)
        if self.several:
            flat = flat.index_select(-1, self.owners)
        return (flat == self.choices).float()


class Flags(nn.Module):
    """MultiBinary as a vector of zeros and ones."""

    def __init__(self, space: spaces.MultiBinary) -> None:
        super().__init__()
        self.size = math.prod(space.shape)

    def forward(self, observations: Tensor) -> Tensor:
        """Vectors (T, B, size), float32."""
        return observations.reshape(*observations.shape[:2], self.size).float()


class VectorEncoder(nn.Module):
    """Observations of the given spaces as one vector (T, B, size): Box flattened, Discrete and MultiDiscrete one-hot,
    MultiBinary as it is.

    * parts: the spaces by their path in the observation; paths that are not named are ignored.
    * normalize: standardise the Box parts (see `ObservationNormalizer`).
    * model: who asks, for the `ExperimentError` that a space of another kind raises.
    """

    def __init__(self, parts: Mapping[str, gymnasium.Space[Any]], normalize: bool, model: str) -> None:
        super().__init__()
        boxes = {path: space for path, space in parts.items() if isinstance(space, spaces.Box)}
        others = {path: space for path, space in parts.items() if path not in boxes}
        self.boxes = (ObservationNormalizer if normalize and boxes else BoxVector)(boxes)
        self.paths = list(others)
        encoders = [_choice_encoder(model, path, space) for path, space in others.items()]
        self.others = nn.ModuleList(encoders)
        self.size = self.boxes.size + sum(encoder.size for encoder in encoders)

    def forward(self, observations: Tree) -> Tensor:
        """Vectors (T, B, size), float32."""
        leaves = flatten(observations) if self.paths else {}
        parts = [encoder(leaves[path]) for path, encoder in zip(self.paths, self.others, strict=True)]
        if self.boxes.size:
            parts.append(self.boxes(observations))
        return parts[0] if len(parts) == 1 else torch.cat(parts, dim=-1)


def _choice_encoder(model: str, path: str, space: gymnasium.Space[Any]) -> OneHot | Flags:
    if isinstance(space, (spaces.Discrete, spaces.MultiDiscrete)):
        return OneHot(space)
    if isinstance(space, spaces.MultiBinary):
        return Flags(space)
    advice = (
        "it reads Box, Discrete, MultiDiscrete, MultiBinary and Dict of these; wrap the environment, or write a model"
    )
    if isinstance(space, spaces.Text):
        advice = (
            "turn the text into a Box of int64 token ids with an observation wrapper (MiniGridActorCritic reads it)"
        )
    raise refuse_space(model, path, space, advice)
