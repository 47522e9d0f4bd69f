from __future__ import annotations

from typing import Any

import numpy as np
import torch

from trainctl.core.engine.collecting.shown import Shown, ShownToGPU
from trainctl.core.tree import flatten

LAYOUT = {"picture": np.zeros((2, 3), np.uint8), "where": np.zeros((), np.int64), "speed": np.zeros(3, np.float32)}
STEPS, ENVIRONMENTS = 4, 5


def filled(shown: Shown) -> Shown:
    """As environments would write it."""
    numbers = np.random.default_rng(1)
    for leaf in flatten(shown.host_observations).values():
        leaf[:] = numbers.integers(1, 200, leaf.shape)
    shown.host_masks[2, 1] = 0.0
    return shown


def seen(shown: Shown) -> dict[str, Any]:
    """What the model is given."""
    return {**flatten(shown.observations), "masks": shown.masks}


def test_what_went_over_as_records_is_what_the_environments_wrote() -> None:
    expected = seen(filled(Shown(LAYOUT, STEPS, ENVIRONMENTS)))
    packed = filled(ShownToGPU(LAYOUT, STEPS, ENVIRONMENTS, torch.device("cpu")))
    found = seen(packed)
    assert not any(leaf.any() for leaf in found.values())  # nothing has gone over
    packed.upload(0)
    packed.upload(1)
    packed.upload(2, slice(0, 2))
    for name, leaf in found.items():
        assert leaf.dtype == expected[name].dtype, name
        assert torch.equal(leaf[:2], expected[name][:2]), name
        assert torch.equal(leaf[2, :2], expected[name][2, :2]), name
        assert not leaf[2, 2:].any(), name


def test_records_are_flat_views_of_steps_and_environments_so_that_learning_copies_none_of_them() -> None:
    for leaf in seen(ShownToGPU(LAYOUT, STEPS, ENVIRONMENTS, torch.device("cpu"))).values():
        assert leaf[:-1].flatten(0, 1).data_ptr() == leaf.data_ptr()
        assert leaf.data_ptr() % 16 == 0
