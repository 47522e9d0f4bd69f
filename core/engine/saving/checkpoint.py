"""Checkpoints: whole or absent, checked byte by byte before anything of them is used.

    step-000000120832/
        model.safetensors   the weights and buffers of the model
        training.pt         part name -> state: what all workers have in common
        worker-<rank>.pt    part name -> state: what each worker has of its own
        manifest.json       format version, versions, `about`, and size and SHA-256 of every other file and of itself

Each worker writes its own files into a directory beside it; rank 0 adds the manifest and renames the directory. So a
directory with the name of a checkpoint is one, or somebody damaged it.
"""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable, Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, TypeVar, runtime_checkable

from torch import Tensor

from ...errors import CheckpointError
from ..workers.workers import WorkerGroup
from .checkpoint_content import decode_model, decode_state, encode_model, encode_state
from .checkpoint_directory import cannot_write, publish, remove, temporary_name
from .checkpoint_manifest import FORMAT_VERSION as FORMAT_VERSION
from .checkpoint_manifest import MODEL, TRAINING, content_fault, entry, examine, say_more, worker_file, write_manifest
from .durable import write_durably

GUARANTEES = ("bit-exact", "exact-state", "continued", "weights-only")
NAME = re.compile(r"step-\d+")
LEFTOVER = re.compile(r"step-\d+\.tmp-[0-9a-f]{8}")

T = TypeVar("T")


@runtime_checkable
class Stateful(Protocol):
    """A part of a training that is saved. Its state is tensors and plain data, see `checkpoint_content.plain`."""

    def state_dict(self) -> dict[str, Any]:
        """Everything that is needed to continue exactly."""

    def load_state_dict(self, state: dict[str, Any]) -> Any:
        """Continue from what `state_dict` gave."""


def checkpoint_name(step: int) -> str:
    """The name of the checkpoint at so many steps of the run, e.g. "step-000000120832"."""
    return f"step-{step:012d}"


# Writing


def save_checkpoint(
    directory: Path,
    name: str,
    model: dict[str, Tensor],
    shared: dict[str, dict[str, Any]],
    own: dict[str, dict[str, Any]],
    about: dict[str, Any],
    workers: WorkerGroup,
) -> Path:
    """Write the checkpoint `directory/name`, all workers together; gives its path once it is on the disk.

    * name: see `checkpoint_name`.
    * model, shared, about: taken from rank 0. `about` must be what JSON can hold; `about["healthy"]` is False where
      the training was not sound.
    * own: of each worker.

    A valid checkpoint of that name with the same weights stays, unless `about` has entries that it lacks. Another one
    is moved aside, to `<name>.damaged-…` or `<name>.replaced-…`. Raises `CheckpointError`, on all workers: for content
    that cannot be saved, and where the disk is full or does not take it; then what was there before is unchanged.
    """
    target = directory / name
    contents = _on_all(workers, lambda: _contents(name, model, shared, own, about, workers))
    if workers.from_first(workers.is_first and _is_there(target, contents, about)):
        return target
    needed = sum(workers.gather(sum(map(len, contents.values()))))
    aside = directory / workers.from_first(temporary_name(name))

    def first_does(action: Callable[[], None]) -> None:
        _on_all(workers, action if workers.is_first else _nothing, lambda error: cannot_write(target, needed, error))

    try:
        first_does(lambda: aside.mkdir(parents=True))
        _on_all(workers, lambda: _write_all(aside, contents), lambda error: cannot_write(target, needed, error))
        parts = workers.gather({file: entry(data) for file, data in contents.items()})
        files = {file: found for part in parts for file, found in part.items()}
        manifest = write_manifest(_step(name), workers.world_size, about, files)
        first_does(lambda: publish(aside, target, manifest))
    finally:
        if workers.is_first:
            shutil.rmtree(aside, ignore_errors=True)  # where all went well it is gone: it has its name
    return target


def add_about(path: Path, entries: dict[str, Any], warn: Callable[[str], None]) -> None:
    """Say more about a checkpoint, if it is there still. Where the disk does not take it, `warn` is told in words."""
    if path.is_dir():
        try:
            say_more(path, entries)
        except (OSError, CheckpointError) as error:
            warn(f"{', '.join(entries)} cannot be noted in {path}: {error}")


def _contents(
    name: str,
    model: dict[str, Tensor],
    shared: dict[str, dict[str, Any]],
    own: dict[str, dict[str, Any]],
    about: dict[str, Any],
    workers: WorkerGroup,
) -> dict[str, bytes]:
    """The files of this worker. They are made in memory: on a full disk torch.save gives no usable error."""
    if not NAME.fullmatch(name):
        raise CheckpointError(f"a checkpoint cannot be called {name!r}; its name must be like {checkpoint_name(0)!r}")
    contents = {worker_file(workers.rank): encode_state(own)}
    if workers.is_first:
        contents |= {MODEL: encode_model(model), TRAINING: encode_state(shared)}
        write_manifest(_step(name), workers.world_size, about, {})  # refused before anything is written
    return contents


def _is_there(target: Path, contents: dict[str, bytes], about: dict[str, Any]) -> bool:
    """Whether the target is valid, holds the same weights, and nothing is to be said about it that it lacks."""
    manifest, reason = examine(target)
    if reason is not None or not manifest["about"].keys() >= about.keys():
        return False
    return bool(manifest["files"][MODEL] == entry(contents[MODEL]))


def _write_all(directory: Path, contents: dict[str, bytes]) -> None:
    for name, data in contents.items():
        write_durably(directory / name, data)


def _on_all(
    workers: WorkerGroup, action: Callable[[], T], explain: Callable[[Exception], str] = lambda error: str(error)
) -> T:
    """What `action` gives on this worker. Where it fails on one worker it fails on all, with the same message."""
    failure: Exception | None = None
    try:
        result = action()
    except (OSError, CheckpointError) as error:
        failure = error
    messages = workers.gather(explain(failure) if failure else "")
    for message in filter(None, messages):
        raise CheckpointError(message) from failure
    return result


def _nothing() -> None:
    return None


def _step(name: str) -> int:
    return int(name.removeprefix("step-"))


# Reading


@dataclass(frozen=True)
class Checkpoint:
    """A checkpoint whose every byte was checked; what it holds is checked once more as it is read."""

    path: Path
    manifest: dict[str, Any]

    @classmethod
    def open(cls, path: Path) -> Checkpoint:
        """Check the whole checkpoint at this path. Raises `CheckpointError` with the reason if it cannot be used."""
        manifest, reason = examine(path)
        if reason is not None:
            raise CheckpointError(
                f"the checkpoint {path} cannot be used: {reason}",
                "`trainctl checkpoint verify` checks all checkpoints of a run",
            )
        return cls(path, manifest)

    @property
    def about(self) -> dict[str, Any]:
        """What was said about it when it was saved."""
        about: dict[str, Any] = self.manifest["about"]
        return about

    @property
    def step(self) -> int:
        """The steps of the run, over all workers."""
        return int(self.manifest["step"])

    @property
    def is_healthy(self) -> bool:
        """Whether the training was sound when it was saved: unless `about["healthy"]` is False."""
        return self.about.get("healthy") is not False

    def model(self) -> dict[str, Tensor]:
        """The state_dict of the model, on the CPU."""
        return decode_model(self._bytes(MODEL), MODEL)

    def shared(self) -> dict[str, Any]:
        """Part name -> state of what all workers have in common, on the CPU. Raises `CheckpointError`."""
        return decode_state(self._bytes(TRAINING), TRAINING)

    def own(self, rank: int) -> dict[str, Any]:
        """Part name -> state of what one worker has of its own, on the CPU. Raises `CheckpointError`."""
        name = worker_file(rank)
        if name not in self.manifest["files"]:
            there = self.manifest["workers"]
            raise CheckpointError(f"{self.path} has the parts of {there} workers, but none of the worker {rank}")
        return decode_state(self._bytes(name), name)

    def _bytes(self, name: str) -> bytes:
        """A file, checked as it is read: it could have changed since `open`."""
        try:
            data = (self.path / name).read_bytes()
        except OSError as error:
            raise CheckpointError(f"the checkpoint {self.path} cannot be used: {name}: {error.strerror}") from error
        if reason := content_fault(name, data, self.manifest["files"][name]):
            raise CheckpointError(f"the checkpoint {self.path} cannot be used: {reason}")
        return data


def verify(path: Path) -> str | None:
    """The reason why the checkpoint at this path cannot be used, or None if every byte of it is as it was written."""
    return examine(path)[1]


def list_checkpoints(directory: Path) -> list[Path]:
    """The checkpoints in a directory, oldest first; whether they are valid is not asked. No directory: none."""
    if not directory.is_dir():
        return []
    found = (path for path in directory.iterdir() if NAME.fullmatch(path.name) and path.is_dir())
    return sorted(found, key=lambda path: (_step(path.name), path.name))


def newest_valid(directory: Path) -> tuple[Checkpoint | None, list[tuple[Path, str]]]:
    """The newest checkpoint that can be used, or None, and those after it that cannot, each with the reason."""
    damaged: list[tuple[Path, str]] = []
    for path in reversed(list_checkpoints(directory)):
        manifest, reason = examine(path)
        if reason is None:
            return Checkpoint(path, manifest), damaged
        damaged.append((path, reason))
    return None, damaged


# Removing


def remove_leftovers(directory: Path) -> list[Path]:
    """Delete the directories that a save or a removal left when it was killed; gives their paths."""
    found = [path for path in directory.iterdir() if LEFTOVER.fullmatch(path.name)] if directory.is_dir() else []
    for path in found:
        shutil.rmtree(path, ignore_errors=True)
    return found


def prune(directory: Path, keep: int | None, protected: Collection[str] = ()) -> list[Path]:
    """Delete old checkpoints; gives the paths of those that are gone.

    The last `keep` valid ones stay (None: all), and those whose names are protected, and always the newest one that is
    valid and healthy. Damaged ones stay as well as long as they are newer than all valid ones that would be deleted.
    """
    paths = list_checkpoints(directory) if keep is not None else []
    removed = [path for path in _superseded(paths, keep or 0) if path.name not in protected]
    for path in removed:
        remove(path)
    return removed


def _superseded(paths: list[Path], keep: int) -> list[Path]:
    """All but the last `keep` valid ones, the newest healthy one, and the damaged ones met while looking for those."""
    kept, healthy = 0, False
    superseded: list[Path] = []
    for path in reversed(paths):
        if kept >= keep and healthy:
            superseded.append(path)
            continue
        manifest, reason = examine(path)
        if reason is not None:
            continue
        is_first_healthy = not healthy and Checkpoint(path, manifest).is_healthy
        if kept >= keep and not is_first_healthy:
            superseded.append(path)
        healthy = healthy or is_first_healthy
        kept += 1
    return superseded
