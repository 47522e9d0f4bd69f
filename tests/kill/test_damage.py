"""Damaged checkpoints: always named, always the one before used; one that was asked for by name is refused."""

from __future__ import annotations

import pickle
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from tests.kill.processes import EXPERIMENTS, Command, checkpoints, record, run_of, settings, trainctl
from trainctl.core.engine.saving.checkpoint_manifest import MANIFEST
from trainctl.core.engine.saving.from_checkpoint import chosen_checkpoint
from trainctl.core.errors import CheckpointError

CARTPOLE = EXPERIMENTS / "cartpole.py"


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the run "first"; its last checkpoint, at 1,536 steps, is not in it."""
    folder = tmp_path_factory.mktemp("finished")
    assert trainctl(folder, "run", CARTPOLE, "--name", "first", "--quiet", *settings(steps=1536)) == 0
    return folder


@pytest.fixture
def folder(finished: Path, tmp_path: Path) -> Path:
    shutil.copytree(finished / "runs", tmp_path / "runs")
    shutil.rmtree(run_of(tmp_path, "first").checkpoints / "step-000000001536")
    return tmp_path


def flip(data: bytes, at: int) -> bytes:
    return data[:at] + bytes([data[at] ^ 1 << at % 8]) + data[at + 1 :]


def truncate(data: bytes, at: int) -> bytes:
    return data[:at]


@pytest.mark.parametrize("harm", [flip, truncate])
def test_of_200_damages_each_is_named_and_the_one_before_is_used(
    harm: Callable[[bytes, int], bytes], folder: Path
) -> None:
    run = run_of(folder, "first")
    *_, before, newest = sorted(run.checkpoints.iterdir())
    files = [(path, path.read_bytes()) for path in sorted(newest.iterdir())]
    sizes = np.array([len(data) for _, data in files])
    generator = np.random.default_rng(1)
    for _ in range(200):
        # every file as often as the others: by its size the small manifest would hardly ever be damaged
        path, data = files[generator.integers(len(files))]
        path.write_bytes(harm(data, int(generator.integers(len(data)))))
        said: list[str] = []
        chosen = chosen_checkpoint(run.path, run, said.append)
        assert chosen is not None
        assert chosen.path == before
        assert [text.split(" (")[0] for text in said] == [f"{newest.name} is damaged"]
        assert path.name in said[0]
        with pytest.raises(CheckpointError, match=path.name):
            chosen_checkpoint(newest, run, said.append)
        path.write_bytes(data)
    assert sizes.min() > 200


def test_resume_says_what_is_damaged_and_goes_on_from_the_one_before(folder: Path) -> None:
    *_, before, newest = checkpoints(folder, "first")
    weights = run_of(folder, "first").checkpoints / newest / "model.safetensors"
    weights.write_bytes(flip(weights.read_bytes(), 100))
    command = Command(folder, "resume", "--checkpoint", "runs/first", "--plain")
    assert command.wait() == 0
    said = f"{newest} is damaged (model.safetensors: sha256 mismatch) — using {before}"
    assert said in command.said()
    assert record(folder, "first")["attempts"][-1]["from_checkpoint"] == before
    assert record(folder, "first")["attempts"][-1]["guarantee"] == "bit-exact"


def test_one_that_was_asked_for_by_name_is_refused_with_3(folder: Path) -> None:
    newest = run_of(folder, "first").checkpoints / checkpoints(folder, "first")[-1]
    (newest / "training.pt").write_bytes(b"")
    command = Command(folder, "resume", "--checkpoint", newest)
    assert command.wait() == 3
    assert "training.pt: 0 bytes instead of" in command.said()


def test_where_all_are_damaged_nothing_is_used(folder: Path) -> None:
    for path in run_of(folder, "first").checkpoints.iterdir():
        (path / MANIFEST).unlink()
    command = Command(folder, "resume", "--checkpoint", "runs/first")
    assert command.wait() == 3
    assert "every checkpoint in runs/first/checkpoints is damaged" in command.said()
    command = Command(folder, "checkpoint", "verify", "runs/first")
    assert command.wait() == 3
    assert "manifest.json is missing" in command.said()


class Attack:
    """Writes a file when it is unpickled."""

    def __reduce__(self) -> tuple[object, ...]:
        return Path.write_text, (Path("executed"), "executed")


FILES = ["model.safetensors", "training.pt", "worker-0.pt", MANIFEST]


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("words", [["resume", "--checkpoint"], ["evaluate", "--checkpoint"], ["checkpoint", "verify"]])
def test_code_in_a_file_is_never_executed(words: list[str], name: str, folder: Path) -> None:
    newest = run_of(folder, "first").checkpoints / checkpoints(folder, "first")[-1]
    assert {path.name for path in newest.iterdir()} == set(FILES)
    (newest / name).write_bytes(pickle.dumps(Attack()))
    command = Command(folder, *words, newest)
    assert command.wait() == 3
    assert name in command.said()
    assert not (folder / "executed").exists()
