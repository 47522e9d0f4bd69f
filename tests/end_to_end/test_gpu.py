"""What only a GPU can show: `python -m pytest -m gpu`."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from tests.end_to_end.runs import EXPERIMENT, metrics, weights
from tests.end_to_end.test_validation import EXPERIMENT as WITH_VALIDATION
from trainctl.core.engine.collecting.shown import ShownToGPU
from trainctl.core.engine.launch import NoDisplay, start
from trainctl.core.engine.learning.learner import Learner, Statistics
from trainctl.core.engine.learning.non_finite import FailedUpdate
from trainctl.core.engine.options import Outcome, RunOptions
from trainctl.core.errors import NonFiniteError

pytestmark = [pytest.mark.gpu, pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no GPU")]


def trained(folder: Path, name: str, experiment: str = EXPERIMENT, **options: Any) -> Outcome:
    """CartPole for 2,000 steps on the GPU, or another experiment."""
    file = folder / "small.py"
    file.write_text(experiment)
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
def test_bfloat16_ends_with_the_same_bits_twice_and_other_ones_than_float32(tmp_path: Path) -> None:
    one, two = (trained(tmp_path, name, deterministic=True, bfloat16=True) for name in ("one", "two"))
    assert weights(one) == weights(two)
    assert weights(one) != weights(trained(tmp_path, "in-float32", deterministic=True))


@pytest.mark.usefixtures("lenient_afterwards")
def test_a_validation_is_played_by_the_trainings_own_process_and_moves_nothing(tmp_path: Path) -> None:
    validated, alone = (
        trained(tmp_path, name, WITH_VALIDATION, deterministic=True, settings={"validate": str(name == "validated")})
        for name in ("validated", "alone")
    )
    kinds = [line["kind"] for line in metrics(validated)]
    assert kinds.count("valid") >= 2
    assert weights(validated) == weights(alone)


@pytest.mark.filterwarnings("ignore")  # the compiler uses what torch itself has deprecated
def test_compiled_updates_learn_what_the_others_do_up_to_rounding(tmp_path: Path) -> None:
    first, compiled = (
        metrics(trained(tmp_path, name, compile=name == "compiled"))[0] for name in ("as-it-is", "compiled")
    )
    for tag in ("loss/total", "train/grad_norm", "train/entropy"):
        assert compiled["means"][tag] == pytest.approx(first["means"][tag], rel=0.01, abs=1e-3)


@pytest.mark.usefixtures("lenient_afterwards")
def test_a_step_goes_over_from_pinned_memory_without_waiting() -> None:
    shown = ShownToGPU({"a": np.zeros(3, np.float32), "b": np.zeros((), np.int64)}, 2, 4, torch.device("cuda"))
    shown.host_observations["a"][1] = 7.0
    assert torch.from_numpy(shown.host_observations["a"]).is_pinned()
    torch.cuda.set_sync_debug_mode("error")
    shown.upload(1)
    torch.cuda.set_sync_debug_mode("default")
    assert shown.observations["a"].tolist() == [[[0.0] * 3] * 4, [[7.0] * 3] * 4]
    assert shown.masks[1].tolist() == [1.0] * 4


@pytest.mark.usefixtures("lenient_afterwards")
def test_numbers_that_are_not_finite_stop_the_training_with_what_a_cpu_would_say(tmp_path: Path) -> None:
    breaks = EXPERIMENT.replace('{"lr": 1e-3}', '{"lr": 1e30}')
    with pytest.raises(NonFiniteError, match="non-finite numbers in an update: loss = ") as caught:
        trained(tmp_path, "broken", breaks)
    assert isinstance(caught.value.evidence, FailedUpdate)


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
