"""Minari datasets in a folder of the test's own."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.toys import ExpertEnv
from trainctl.core.engine.playing.demonstration_recorder import ExpertPlayer, Recording, record_demonstrations

LENGTHS = (3, 5, 1, 4, 2, 6)
"""Steps of the episodes; episode e shows [100 e + steps so far], and its expert does steps % 3."""

NAME = "toys/counting-v0"


@pytest.fixture
def datasets(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder that holds this test's datasets, and nothing else."""
    pytest.importorskip("minari")
    monkeypatch.setenv("MINARI_DATASETS_PATH", str(tmp_path / "minari"))
    return tmp_path / "minari"


def counting_expert() -> ExpertEnv:
    """An environment whose episodes have the `LENGTHS`."""
    return ExpertEnv(lambda steps: steps % 3, [(length, "terminated") for length in LENGTHS])


def record(environment: Any = counting_expert, episodes: int = len(LENGTHS), name: str = NAME) -> Recording:
    """Its expert's episodes."""
    return record_demonstrations(environment, ExpertPlayer(), episodes, name, seed=0, description="a test")
