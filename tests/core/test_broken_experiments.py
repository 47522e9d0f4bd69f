"""Every file in broken/ is wrong in one way (one is wrong in many). The messages are in __snapshots__.

After a change that is meant: `pytest tests/core/test_broken_experiments.py --snapshot-update`, and read the difference.
"""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import pytest
from syrupy.assertion import SnapshotAssertion

from trainctl import ExperimentError
from trainctl.core.experiment_file import load_experiment

BROKEN = Path(__file__).parent / "broken"
SOUND = {"pieces.py", "whole.py"}  # the neighbour of all, and the one that only `--set` breaks
FILES = sorted({path.name.removesuffix(".txt") for path in BROKEN.iterdir() if path.is_file()} - SOUND)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A copy of broken/. What Python cannot even parse ends in .txt there, to keep it from formatters."""
    for path in BROKEN.iterdir():
        if path.is_file():
            shutil.copy(path, tmp_path / path.name.removesuffix(".txt"))
    return tmp_path


def message(path: Path, settings: dict[str, str] | None = None) -> str:
    """What the user reads, without what differs from one machine to the next."""
    with pytest.raises(ExperimentError) as caught:
        load_experiment(path, settings or {})
    assert caught.value.exit_code == 2
    return re.sub("0x[0-9a-f]+", "0x…", str(caught.value).replace(f"{path.parent}/", ""))


@pytest.mark.parametrize("file", FILES)
def test_a_broken_experiment_says_what_is_wrong_and_where(file: str, folder: Path, snapshot: SnapshotAssertion) -> None:
    text = message(folder / file)
    assert text == snapshot
    assert re.search(r"--> (pieces|" + Path(file).stem + r")\.py", text)


def test_all_faults_of_a_file_are_listed_at_once(folder: Path) -> None:
    with pytest.raises(ExperimentError) as caught:
        load_experiment(folder / "several_faults.py", {})
    words = [fault.message.split()[0] for fault in caught.value.faults]
    assert words == ["max_stage_steps", "gamma", "loss_weights", "use_gae", "the", "num_envs", "model", "no"]
    assert all(fault.location and fault.location.line for fault in caught.value.faults)


@pytest.mark.parametrize(
    "setting",
    [
        "step=3",
        "num_envs=many",
        "num_envs=2.5",
        "num_envs=true",
        "num_envs=None",
        "clip_range=-1",
        "clip_range=nan",
        "hidden_sizes=64",
        "hidden_sizes=(64, 'wide')",
        "steps=0",
        "environment=CartPol-v1",
    ],
)
def test_a_setting_that_cannot_be_is_refused(setting: str, folder: Path, snapshot: SnapshotAssertion) -> None:
    key, _, value = setting.partition("=")
    assert message(folder / "whole.py", {key: value}) == snapshot


def test_wrong_settings_do_not_hide_the_faults_of_the_file(folder: Path) -> None:
    with pytest.raises(ExperimentError) as caught:
        load_experiment(folder / "whole.py", {"step": "3", "num_envs": "many", "clip_range": "0.1", "steps": "-1"})
    assert [fault.message.split(":")[0] for fault in caught.value.faults] == [
        "--set step=3",
        "--set num_envs=many",
        "max_stage_steps must be at least 1, not -1",
    ]


@pytest.mark.parametrize("file", ["wole.py", "notes.md", "random.py", "gymnasium.py", "v1.2.py", "."])
def test_what_is_no_experiment_file_is_refused(file: str, tmp_path: Path, snapshot: SnapshotAssertion) -> None:
    for name in ("whole.py", "notes.md", "random.py", "gymnasium.py", "v1.2.py"):
        (tmp_path / "files").mkdir(exist_ok=True)
        (tmp_path / "files" / name).write_text("def experiment():\n    return None\n")
    text = message(tmp_path / "files" / file).replace(str(tmp_path), "")
    assert text == snapshot


def test_there_are_at_least_25_kinds() -> None:
    assert len(FILES) >= 25
