from __future__ import annotations

from typing import Any

import gymnasium
import numpy as np
import pytest
import torch
from gymnasium import spaces

from trainctl.core.errors import ExperimentError
from trainctl.core.models.images import ImageEncoder, is_image
from trainctl.models import CNNActorCritic, ObservationNormalizer


def pixels(*shape: int, dtype: Any = np.uint8) -> spaces.Box:
    return spaces.Box(0, 255, shape, dtype)


@pytest.mark.parametrize("side", [84, 20, 7])
def test_channels_first_and_last_give_the_same(side: int) -> None:
    torch.manual_seed(0)
    last, first = ImageEncoder(pixels(side, side + 1, 3), 16), ImageEncoder(pixels(3, side, side + 1), 16)
    first.load_state_dict(last.state_dict())
    images = torch.randint(0, 256, (2, 5, side, side + 1, 3), dtype=torch.uint8)
    torch.testing.assert_close(first(images.movedim(-1, 2).contiguous()), last(images))


def test_the_network_is_that_of_mnih_et_al() -> None:
    encoder = ImageEncoder(pixels(4, 84, 84), 512)
    shapes = [tuple(parameter.shape) for parameter in encoder.parameters() if parameter.dim() > 1]
    assert shapes == [(32, 4, 8, 8), (64, 32, 4, 4), (64, 64, 3, 3), (512, 3136)]


@pytest.mark.parametrize("side", [4, 10, 11, 35, 36])
def test_the_smallest_images_of_each_network_fit(side: int) -> None:
    assert ImageEncoder(pixels(side, side, 1), 8)(torch.zeros(1, 2, side, side, 1)).shape == (1, 2, 8)


def test_bytes_are_scaled_to_one_and_other_numbers_are_not() -> None:
    bytes_, floats = ImageEncoder(pixels(9, 9, 1), 8), ImageEncoder(pixels(9, 9, 1, dtype=np.float32), 8)
    floats.load_state_dict(bytes_.state_dict())
    white = torch.full((1, 1, 9, 9, 1), 255, dtype=torch.uint8)
    torch.testing.assert_close(bytes_(white), floats(torch.ones(1, 1, 9, 9, 1)))


def test_what_is_an_image() -> None:
    images: list[gymnasium.Space[Any]] = [pixels(84, 84), pixels(4, 84, 84), pixels(9, 9, 1, dtype=np.float32)]
    others = [pixels(128), pixels(4, 128), pixels(9, 9, dtype=np.float32), pixels(4, 84, 84, 3), spaces.Discrete(3)]
    assert [is_image(space) for space in images + others] == [True] * 3 + [False] * 5


def test_in_a_dict_each_image_is_seen_and_only_the_rest_is_normalized() -> None:
    space = spaces.Dict({"at": spaces.Box(-1, 1, (2,)), "left": pixels(9, 9, 1), "right": pixels(9, 9, 1)})
    model = CNNActorCritic(space, spaces.Discrete(2), features=8, normalize_observations=True)
    (normalizer,) = [module for module in model.modules() if isinstance(module, ObservationNormalizer)]
    assert normalizer.size == 2
    black = torch.zeros(1, 1, 9, 9, 1, dtype=torch.uint8)
    blank = {"at": torch.zeros(1, 1, 2), "left": black, "right": black}
    values = [
        model(blank | change, None, torch.ones(1, 1)).values.item()
        for change in ({}, {"at": torch.ones(1, 1, 2)}, {"left": black + 255}, {"right": black + 255})
    ]
    assert len(set(values)) == 4


def test_acting_skips_the_value() -> None:
    model = CNNActorCritic(pixels(9, 9, 1), spaces.Discrete(2), features=8)
    model.value_head.register_forward_hook(lambda *_: pytest.fail("the value was asked"))
    model.policy(torch.zeros(1, 4, 9, 9, 1, dtype=torch.uint8), None, torch.ones(1, 4))


@pytest.mark.parametrize(
    ("space", "words"),
    [
        (spaces.Box(-1, 1, (4,)), r"cannot read the space Box\(-1.0, 1.0, \(4,\), float32\)(.|\n)*use MLPActorCritic"),
        (pixels(4, 84, 84, 3), r"needs an image(.|\n)*three dimensions"),
        (pixels(3, 40, 3), r"\(3, 40, 3\)(.|\n)*at least 4 pixels"),
    ],
)
def test_what_is_no_image_is_refused_with_advice(space: spaces.Box, words: str) -> None:
    with pytest.raises(ExperimentError, match=words):
        CNNActorCritic(space, spaces.Discrete(2))
