from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from tests.core.engine.saving.checkpoints import save
from trainctl.core.early_stopping import EarlyStoppingCriterion
from trainctl.core.engine.progress import Progress
from trainctl.core.engine.saving.checkpoint import Checkpoint
from trainctl.core.engine.saving.guarantee import differences, guarantee_of, promised
from trainctl.core.pipeline import PipelineStage


class Trained:
    """As much of a trainer as is asked here."""

    def __init__(self, workers: int = 1, device: str = "cpu", has_changed: bool = False, **about: Any) -> None:
        self.about = about
        self.workers = type("Workers", (), {"world_size": workers})
        self.device = torch.device(device)
        self.has_changed = has_changed
        self.stages: list[Any] = [PipelineStage(loss_names=["ppo"], max_stage_steps=1)]
        self.progress = Progress()
        self.collector = SimpleNamespace(environments=SimpleNamespace(guarantee="bit-exact"))


def checkpoint(folder: Path, versions: dict[str, str] | None = None, **about: Any) -> Checkpoint:
    found = Checkpoint.open(save(folder, 5, about=about))
    found.manifest["versions"] |= versions or {}
    return found


@pytest.mark.parametrize(
    ("about", "problems", "trained", "expected"),
    [
        ({}, [], Trained(), "bit-exact"),
        ({"guarantee": "bit-exact", "device": "cpu"}, [], Trained(), "bit-exact"),
        ({}, ["episodes begin anew"], Trained(), "exact-state"),
        ({"guarantee": "continued"}, [], Trained(), "continued"),
        ({"guarantee": "exact-state"}, [], Trained(workers=2), "continued"),
        ({"device": "cuda"}, [], Trained(), "continued"),
        ({}, [], Trained(has_changed=True), "continued"),
        ({"code": {"a.py": "1"}}, [], Trained(code={"b.py": "1"}), "bit-exact"),
        ({"code": {"a.py": "1"}}, [], Trained(code={"a.py": "2"}), "continued"),
        ({"guarantee": "weights-only"}, ["x"], Trained(workers=2), "weights-only"),
    ],
)
def test_the_weakest_counts(
    about: dict[str, Any], problems: list[str], trained: Any, expected: str, tmp_path: Path
) -> None:
    assert guarantee_of(checkpoint(tmp_path, **about), problems, trained) == expected


class Forgetful(EarlyStoppingCriterion):
    """Counts, and cannot be saved."""

    def __init__(self) -> None:
        self.count = 0

    def __call__(self, stage_steps: int, total_steps: int, training_metrics: Any) -> bool:
        return False


def test_what_cannot_be_brought_back_is_promised_to_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch, "are_deterministic_algorithms_enabled", lambda: False)
    plain, gpu, vector, criterion = Trained(), Trained(device="cuda"), Trained(), Trained()
    vector.collector.environments.guarantee = "exact-state"
    criterion.stages[0] = PipelineStage(["ppo"], 1, early_stopping_criterion=Forgetful())
    trained: list[Any] = [plain, gpu, vector, criterion]
    assert [promised(one) for one in trained] == ["bit-exact", "exact-state", "exact-state", "exact-state"]
    criterion.progress.stage_index = 1  # the stage of the criterion is over
    monkeypatch.setattr(torch, "are_deterministic_algorithms_enabled", lambda: True)
    assert [promised(one) for one in trained] == ["bit-exact", "bit-exact", "exact-state", "bit-exact"]


def test_other_versions_are_named_and_python_s_is_none_of_them(tmp_path: Path) -> None:
    other = checkpoint(tmp_path, {"torch": "1.0", "python": "3.0"})
    trained: Any = Trained()
    assert list(differences(other, trained)) == [
        f"it goes on with torch {torch.__version__}, it was 1.0: the bits may differ"
    ]
    assert guarantee_of(other, [], trained) == "continued"


def test_another_number_of_workers_and_another_device_are_named(tmp_path: Path) -> None:
    trained: Any = Trained(workers=3)
    assert [text.split(":")[0] for text in differences(checkpoint(tmp_path, device="cuda"), trained)] == [
        "it goes on with 3 workers, there were 1",
        "it goes on on cpu, it was on cuda",
    ]
