"""Where a run comes from is recorded as far as it can be known, and never stops it."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from trainctl.core.engine.saving.origin import git_state, versions


def git(folder: Path, *arguments: str) -> str:
    who = ["-c", "user.name=a", "-c", "user.email=a@b", "-c", "init.defaultBranch=main"]
    return subprocess.run(
        ["git", *who, "-C", str(folder), *arguments], check=True, capture_output=True, text=True
    ).stdout


def test_the_commit_is_known_and_whether_the_folder_of_the_experiment_differs_from_it(tmp_path: Path) -> None:
    (tmp_path / "here").mkdir()
    git(tmp_path, "init")
    (tmp_path / "here" / "exp.py").write_text("1\n", "utf-8")
    git(tmp_path, "add", ".")
    git(tmp_path, "commit", "-m", "one")
    commit = git(tmp_path, "rev-parse", "HEAD").strip()
    (tmp_path / "elsewhere").write_text("not of this experiment", "utf-8")
    assert git_state(tmp_path / "here") == {"commit": commit, "dirty": False}
    (tmp_path / "here" / "exp.py").write_text("2\n", "utf-8")
    assert git_state(tmp_path / "here") == {"commit": commit, "dirty": True}


def test_without_git_there_is_nothing_to_say(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert git_state(tmp_path) == {}
    assert git_state(tmp_path / "nowhere") == {}
    monkeypatch.setenv("PATH", "")
    assert git_state(tmp_path) == {}


def test_versions_are_texts() -> None:
    assert all(version and version != "unknown" for version in versions().values())
