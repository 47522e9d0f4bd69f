"""What only a GPU can show: `python -m pytest -m gpu`."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.end_to_end.runs import EXPERIMENT, weights
from trainctl.core.engine.launch import NoDisplay, start
from trainctl.core.engine.learner import Learner, Statistics
from trainctl.core.engine.options import Outcome, RunOptions

pytestmark = [pytest.mark.gpu, pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no GPU")]


def trained(folder: Path, name: str, **options: Any) -> Outcome:
    """CartPole for 2,000 steps on the GPU."""
    file = folder / "small.py"
    file.write_text(EXPERIMENT)
    return start(
        RunOptions(file, seed=1, device="cuda", name=name, runs_dir=folder / "runs", **options), NoDisplay(), []
    )


@pytest.fixture
def lenient_afterwards() -> Iterator[None]:
    """Whatever a test has made strict."""
    yield
    torch.cuda.set_sync_debug_mode("default")
    torch.use_deterministic_algorithms(False)


@pytest.mark.usefixtures("lenient_afterwards")
def test_the_same_training_twice_with_deterministic_ends_with_the_same_bits(tmp_path: Path) -> None:
    assert weights(trained(tmp_path, "one", deterministic=True)) == weights(
        trained(tmp_path, "two", deterministic=True)
    )


@pytest.mark.usefixtures("lenient_afterwards")
def test_an_update_waits_for_the_gpu_only_to_bring_over_its_statistics(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    update, means = Learner.update, Statistics.means
    strict = []

    def watched(learner: Learner, *arguments: Any) -> Any:
        torch.cuda.set_sync_debug_mode("error" if strict else "default")  # the first update may prepare
        strict.append(True)
        try:
            return update(learner, *arguments)
        finally:
            torch.cuda.set_sync_debug_mode("default")

    def brought_over(statistics: Statistics) -> Any:
        torch.cuda.set_sync_debug_mode("default")
        return means(statistics)

    monkeypatch.setattr(Learner, "update", watched)
    monkeypatch.setattr(Statistics, "means", brought_over)
    trained(tmp_path, "watched")
    assert len(strict) > 2
