from __future__ import annotations

from pathlib import Path

import pytest

from tests.core.engine.saving.checkpoints import names, save
from trainctl.core.engine.saving import retention
from trainctl.core.engine.saving.checkpoint import list_checkpoints
from trainctl.core.engine.saving.checkpoint_directory import remove_set_aside, set_aside
from trainctl.core.engine.saving.retention import retain
from trainctl.core.errors import CheckpointError


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    """Six checkpoints; a stage ends with the second and with the fourth."""
    for step in range(1, 7):
        save(tmp_path, step, about={"stage_ended": step in (2, 4), "healthy": True})
    return tmp_path


def steps(paths: list[Path]) -> list[int]:
    return [int(path.name.removeprefix("step-")) for path in paths]


@pytest.mark.parametrize(
    ("keep", "left"),
    [(None, [1, 2, 3, 4, 5, 6]), (3, [2, 4, 5, 6]), (1, [2, 4, 6]), (0, [2, 4, 6]), (9, [1, 2, 3, 4, 5, 6])],
)
def test_the_last_few_and_every_stage_s_last_stay(keep: int | None, left: list[int], directory: Path) -> None:
    gone = retain(directory, keep)
    assert steps(list_checkpoints(directory)) == left
    assert sorted(steps(gone) + left) == [1, 2, 3, 4, 5, 6]


def test_one_that_may_turn_out_to_be_the_best_stays(directory: Path) -> None:
    retain(directory, 1, waiting=["step-000000000003"])
    assert steps(list_checkpoints(directory)) == [2, 3, 4, 6]


def test_what_cannot_be_deleted_is_told_and_stays(directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(*arguments: object) -> list[Path]:
        raise CheckpointError("the old checkpoint cannot be deleted: Permission denied")

    monkeypatch.setattr(retention, "prune", refused)
    said: list[str] = []
    assert retain(directory, 1, said.append) == []
    assert said == ["the old checkpoint cannot be deleted: Permission denied"]


def test_what_is_set_aside_is_listed_no_longer_and_can_be_deleted(directory: Path) -> None:
    set_aside(list_checkpoints(directory)[4:])
    assert steps(list_checkpoints(directory)) == [1, 2, 3, 4]
    aside = sorted(path.name for path in directory.iterdir() if "replaced" in path.name)
    assert [name.split(".")[0] for name in aside] == ["step-000000000005", "step-000000000006"]
    assert names(remove_set_aside(directory)) == aside
    assert len(list(directory.iterdir())) == 4
