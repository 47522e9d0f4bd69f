from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from gymnasium import spaces
from torch import nn

from trainctl.core.engine import device
from trainctl.core.engine.device import cores, learning_threads, prepare, threads
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


def test_as_many_threads_learn_as_the_work_for_a_minibatch_is_worth(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(device, "cores", lambda: 7)
    images = CNNActorCritic(spaces.Box(0, 255, (36, 36, 4), np.uint8), CHOICE)
    assert learning_threads(images, 84 * 84, 64) == 7
    assert learning_threads(nn.Conv2d(1, 1, 1), 7 * 7 * 3, 64) == 2
    square = nn.Sequential(nn.Embedding(10_000, 1024), nn.Linear(1024, 1024, bias=False))
    assert [learning_threads(square, 12, size) for size in (8, 16, 24, 10_000)] == [1, 2, 3, 7]
    assert learning_threads(MLPActorCritic(spaces.Box(-1, 1, (3,)), CHOICE), 84 * 84, 256) == 1
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.setenv("RANK", "0")
    monkeypatch.setenv("LOCAL_RANK", "0")
    monkeypatch.setenv("MASTER_ADDR", "localhost")
    assert learning_threads(images, 84 * 84, 64) == 1


@pytest.fixture
def whatever_repeats() -> Iterator[None]:
    before = torch.are_deterministic_algorithms_enabled(), torch.is_deterministic_algorithms_warn_only_enabled()
    torch.use_deterministic_algorithms(False)
    yield
    torch.use_deterministic_algorithms(before[0], warn_only=before[1])


@pytest.mark.usefixtures("whatever_repeats")
def test_on_a_cpu_the_gradient_of_an_index_is_the_same_each_time() -> None:
    table, indices = torch.randn(11, 64, requires_grad=True), torch.randint(0, 11, (8000,))
    weights = torch.randn(8000, 64)

    def gradient() -> bytes:
        return torch.autograd.grad(table[indices], table, weights)[0].numpy().tobytes()

    with threads(2):
        assert len({gradient() for _ in range(50)}) > 1  # two threads add to the same rows
        prepare("cpu", deterministic=False)
        torch.set_num_threads(2)
        assert len({gradient() for _ in range(50)}) == 1


@pytest.mark.parametrize(("limit", "expected"), [("250000 100000", 3), ("50000 100000", 1), ("max 100000", 6), ("", 6)])
def test_a_containers_limit_counts_and_not_the_machines_cores(
    limit: str, expected: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "cpu.max").write_text(limit)
    monkeypatch.setattr(device, "CPU_LIMIT", tmp_path / "cpu.max")
    monkeypatch.setattr(os, "sched_getaffinity", lambda process: set(range(6)))
    assert cores() == expected
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "2")
    assert cores() == max(1, expected // 2)
