"""Every damaged byte of a checkpoint is found and named, and a checkpoint from elsewhere never executes anything."""

from __future__ import annotations

import json
import os
import pickle
import random
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.core.engine.saving.checkpoints import reseal, save
from trainctl.core.engine.saving.checkpoint import Checkpoint, newest_valid, verify
from trainctl.core.engine.saving.checkpoint_manifest import MANIFEST, _sealed, entry, say_more, write_manifest
from trainctl.core.errors import CheckpointError

FILES = ["manifest.json", "model.safetensors", "training.pt", "worker-0.pt"]


def test_more_is_said_about_a_checkpoint_and_it_stays_whole(tmp_path: Path) -> None:
    path = save(tmp_path, 1, about={"stage": "one"})
    before = Checkpoint.open(path)
    say_more(path, {"validation": 7})
    after = Checkpoint.open(path)
    assert after.about == {**before.about, "validation": 7}
    assert after.manifest["files"] == before.manifest["files"]
    assert sorted(one.name for one in path.iterdir()) == sorted(FILES)
    (path / MANIFEST).write_text("{}")
    with pytest.raises(CheckpointError, match="format version"):
        say_more(path, {"validation": 8})


@pytest.fixture(params=FILES)
def file(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """Each file of a checkpoint, which has an older one beside it."""
    save(tmp_path, 1)
    return Path(save(tmp_path, 2) / request.param)


def check_it_is_named_and_not_used(file: Path) -> None:
    reason = verify(file.parent)
    assert reason is not None
    assert file.name in reason or "format version" in reason
    with pytest.raises(CheckpointError) as refusal:
        Checkpoint.open(file.parent)
    assert reason in str(refusal.value)
    assert refusal.value.exit_code == 3
    newest, damaged = newest_valid(file.parent.parent)
    assert (newest is not None and newest.step, damaged) == (1, [(file.parent, reason)])


def test_a_changed_byte_is_always_found(file: Path) -> None:
    whole = file.read_bytes()
    dice = random.Random(0)
    for place in dice.sample(range(len(whole)), min(50, len(whole))):
        data = bytearray(whole)
        data[place] ^= dice.randint(1, 255)
        file.write_bytes(data)
        check_it_is_named_and_not_used(file)
    file.write_bytes(whole)
    assert verify(file.parent) is None


def test_a_missing_end_is_always_found(file: Path) -> None:
    whole = file.read_bytes()
    for length in [0, len(whole) - 1, *random.Random(0).sample(range(len(whole)), 50)]:
        file.write_bytes(whole[:length])
        check_it_is_named_and_not_used(file)


def test_a_missing_file_and_a_longer_one_are_found(file: Path) -> None:
    file.write_bytes(file.read_bytes() + b"\n")
    check_it_is_named_and_not_used(file)
    file.unlink()
    check_it_is_named_and_not_used(file)
    file.mkdir()
    check_it_is_named_and_not_used(file)


def test_damage_after_the_check_is_found_as_the_file_is_read(tmp_path: Path) -> None:
    path = save(tmp_path, 1)
    found = Checkpoint.open(path)
    for name, read in (("model.safetensors", found.model), ("training.pt", found.shared)):
        data = (path / name).read_bytes()
        (path / name).write_bytes(bytes([data[0] ^ 1]) + data[1:])
        with pytest.raises(CheckpointError, match=f"{name}: sha256 mismatch"):
            read()
    (path / "worker-0.pt").unlink()
    with pytest.raises(CheckpointError, match=r"worker-0\.pt: No such file"):
        found.own(0)


def test_the_reasons_are_words(tmp_path: Path) -> None:
    path = save(tmp_path, 1)
    assert verify(tmp_path / "nothing") == "there is no such directory"
    whole = (path / "training.pt").read_bytes()
    (path / "training.pt").write_bytes(whole[:-1])
    assert verify(path) == f"training.pt: {len(whole) - 1:,} bytes instead of {len(whole):,}"
    (path / "training.pt").write_bytes(whole[:-1] + b"?")
    assert verify(path) == "training.pt: sha256 mismatch"
    (path / MANIFEST).unlink()
    assert verify(path) == "manifest.json is missing"


# From elsewhere: everything fits together, and nothing is to be trusted


class Bomb:
    """Unpickling it makes a directory."""

    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self) -> Any:
        return os.mkdir, (str(self.marker),)


def by_pickle(value: Any, file: Path) -> None:
    file.write_bytes(pickle.dumps(value, protocol=2))


@pytest.mark.parametrize("write", [torch.save, by_pickle], ids=["torch.save", "pickle"])
def test_code_in_any_file_is_refused_and_never_executed(file: Path, write: Any, tmp_path: Path) -> None:
    marker = tmp_path / "marker"
    write({"part": Bomb(marker)}, file)
    if file.name != MANIFEST:
        reseal(file.parent)
        assert verify(file.parent) is None  # its author has seen to that
    with pytest.raises(CheckpointError) as refusal:
        read_everything(file.parent)
    assert file.name in str(refusal.value)
    assert not marker.exists()


def read_everything(path: Path) -> None:
    found = Checkpoint.open(path)
    found.model()
    found.shared()
    found.own(0)


@pytest.mark.parametrize("name", ["../../secret", "/etc/passwd", "sub/worker-1.pt", "secret", ""])
def test_a_manifest_names_no_file_outside(name: str, tmp_path: Path) -> None:
    path = save(tmp_path, 1)
    add_to_manifest(path, name)
    assert verify(path) == f"manifest.json: {name!r} is no file of a checkpoint"


def add_to_manifest(path: Path, name: str) -> None:
    old = json.loads((path / MANIFEST).read_bytes())
    files = {**old["files"], name: entry(b"")}
    (path / MANIFEST).write_bytes(write_manifest(old["step"], old["workers"], old["about"], files))


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"format_version": 2}, "format version 2 is newer than this trainctl reads (up to 1)"),
        ({"format_version": True}, "manifest.json: no format version"),
        ({"format_version": 0}, "manifest.json: no format version"),
        ({"step": "5"}, "manifest.json: step is missing or of a wrong kind"),
        ({"about": []}, "manifest.json: about is missing or of a wrong kind"),
        ({"files": {}}, "manifest.json: it does not list model.safetensors"),
        ({"workers": 3}, "manifest.json: it does not list worker-1.pt"),
        ({"workers": 10**12}, "manifest.json: it does not list worker-1.pt"),
        ({"workers": 0}, "manifest.json: it is of no worker"),
    ],
    ids=str,
)
def test_a_sealed_manifest_of_nonsense_is_refused(change: dict[str, Any], reason: str, tmp_path: Path) -> None:
    path = save(tmp_path, 1)
    manifest = json.loads((path / MANIFEST).read_bytes())
    del manifest["sha256"]
    (path / MANIFEST).write_bytes(_sealed({**manifest, **change}))
    assert verify(path) == reason


@pytest.mark.parametrize("text", ["", "[]", "null", "{", "[" * 100_000, "\xff", '{"format_version": 1}'])
def test_a_manifest_that_is_none_is_refused(text: str, tmp_path: Path) -> None:
    path = save(tmp_path, 1)
    (path / MANIFEST).write_text(text, "latin-1")
    assert str(verify(path)).startswith("manifest.json: ")
