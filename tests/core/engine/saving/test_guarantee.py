from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from tests.core.engine.saving.checkpoints import save
from trainctl.core.engine.saving.checkpoint import Checkpoint
from trainctl.core.engine.saving.guarantee import differences, guarantee_of


class Trained:
    """As much of a trainer as is asked here."""

    def __init__(self, workers: int = 1, device: str = "cpu", has_changed: bool = False) -> None:
        self.workers = type("Workers", (), {"world_size": workers})
        self.device = torch.device(device)
        self.has_changed = has_changed


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
        ({"guarantee": "weights-only"}, ["x"], Trained(workers=2), "weights-only"),
    ],
)
def test_the_weakest_counts(
    about: dict[str, Any], problems: list[str], trained: Any, expected: str, tmp_path: Path
) -> None:
    assert guarantee_of(checkpoint(tmp_path, **about), problems, trained) == expected


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
