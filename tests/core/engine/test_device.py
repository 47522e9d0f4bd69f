from __future__ import annotations

import numpy as np
import pytest
import torch
from gymnasium import spaces

from trainctl.core.engine import device
from trainctl.core.engine.device import learning_threads, threads
from trainctl.models import CNNActorCritic, MLPActorCritic

CHOICE = spaces.Discrete(2)


def test_the_number_of_threads_is_restored_whatever_happens() -> None:
    before = torch.get_num_threads()

    def fail_inside() -> None:
        with threads(before + 1):
            assert torch.get_num_threads() == before + 1
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail_inside()
    assert torch.get_num_threads() == before


def test_only_convolutions_over_images_learn_with_all_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(device, "_cores", lambda: 7)
    images = CNNActorCritic(spaces.Box(0, 255, (36, 36, 4), np.uint8), CHOICE)
    assert learning_threads(images, 84 * 84) == 7
    assert learning_threads(images, 7 * 7 * 3) == 1
    assert learning_threads(MLPActorCritic(spaces.Box(-1, 1, (3,)), CHOICE), 84 * 84) == 1
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.setenv("RANK", "0")
    monkeypatch.setenv("LOCAL_RANK", "0")
    monkeypatch.setenv("MASTER_ADDR", "localhost")
    assert learning_threads(images, 84 * 84) == 1
