"""The manifest of a checkpoint: what it is, and size and SHA-256 of every file, so that damage is always found.

The files of a checkpoint must be checked here: neither safetensors nor torch.load notices a flipped bit.
"""

from __future__ import annotations

import hashlib
import json
import re
from pathlib import Path
from typing import Any

from ...errors import CheckpointError
from .durable import replace_durably
from .origin import versions

FORMAT_VERSION = 1
MODEL, TRAINING, MANIFEST = "model.safetensors", "training.pt", "manifest.json"
FILE = re.compile(r"model\.safetensors|training\.pt|worker-\d+\.pt")


def worker_file(rank: int) -> str:
    """The file with what the worker of this rank has of its own."""
    return f"worker-{rank}.pt"


def entry(data: bytes) -> dict[str, Any]:
    """What the manifest says about a file with this content."""
    return {"size": len(data), "sha256": hashlib.sha256(data).hexdigest()}


def write_manifest(step: int, workers: int, about: dict[str, Any], files: dict[str, dict[str, Any]]) -> bytes:
    """The manifest as a file. Raises `CheckpointError` if JSON cannot hold `about`."""
    start = {"format_version": FORMAT_VERSION, "step": step, "workers": workers, "versions": versions()}
    try:
        return _sealed({**start, "about": about, "files": dict(sorted(files.items()))})
    except (TypeError, ValueError, RecursionError) as error:
        raise CheckpointError(f"`about` of a checkpoint must be what JSON can hold: {error}") from error


def say_more(path: Path, entries: dict[str, Any]) -> None:
    """Add entries to what the manifest says about a checkpoint. Raises `CheckpointError` if it is damaged, `OSError`
    if it cannot be written."""
    try:
        manifest = _read(path)
    except _FaultError as fault:
        raise CheckpointError(str(fault)) from fault
    told = {key: value for key, value in manifest.items() if key != "sha256"}
    replace_durably(path / MANIFEST, _sealed({**told, "about": {**manifest["about"], **entries}}))


def examine(path: Path) -> tuple[dict[str, Any], str | None]:
    """Check all bytes of a checkpoint: its manifest and None, or the reason why it is none, e.g.
    "training.pt: sha256 mismatch"."""
    try:
        manifest = _read(path)
        for name, expected in manifest["files"].items():
            _check_file(path / name, expected)
    except _FaultError as fault:
        return {}, str(fault)
    except OSError as error:
        return {}, f"{Path(error.filename or path).name}: {error.strerror}"
    return manifest, None


def content_fault(name: str, data: bytes, expected: dict[str, Any]) -> str | None:
    """What is wrong with the content of a file, or None."""
    if len(data) != expected["size"]:
        return f"{name}: {len(data):,} bytes instead of {expected['size']:,}"
    return f"{name}: sha256 mismatch" if entry(data)["sha256"] != expected["sha256"] else None


class _FaultError(Exception):
    """What is wrong with a checkpoint."""


def _read(path: Path) -> dict[str, Any]:
    if not path.is_dir():
        raise _FaultError("there is no such directory")
    if not (path / MANIFEST).is_file():
        raise _FaultError(f"{MANIFEST} is missing")
    data = (path / MANIFEST).read_bytes()
    try:
        manifest = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise _FaultError(f"{MANIFEST}: no JSON") from error
    if not isinstance(manifest, dict):
        raise _FaultError(f"{MANIFEST}: no JSON object")
    _check_format(manifest.get("format_version"))
    if data != _sealed({key: value for key, value in manifest.items() if key != "sha256"}):
        raise _FaultError(f"{MANIFEST}: sha256 mismatch")
    _check_fields(manifest)
    return manifest


def _check_format(version: Any) -> None:
    if type(version) is not int or version < 1:
        raise _FaultError(f"{MANIFEST}: no format version")
    if version > FORMAT_VERSION:
        raise _FaultError(f"format version {version} is newer than this trainctl reads (up to {FORMAT_VERSION})")


def _check_fields(manifest: dict[str, Any]) -> None:
    """A manifest from elsewhere can hold anything, and be sealed."""
    kinds = {"step": int, "workers": int, "versions": dict, "about": dict, "files": dict}
    for name, kind in kinds.items():
        if type(manifest.get(name)) is not kind:
            raise _FaultError(f"{MANIFEST}: {name} is missing or of a wrong kind")
    files, workers = manifest["files"], manifest["workers"]
    if workers < 1:
        raise _FaultError(f"{MANIFEST}: it is of no worker")
    needed = [MODEL, TRAINING, *map(worker_file, range(min(workers, len(files) + 1)))]
    if missing := [name for name in needed if name not in files]:
        raise _FaultError(f"{MANIFEST}: it does not list {missing[0]}")
    for name, expected in files.items():
        if not FILE.fullmatch(name) or not isinstance(expected, dict) or set(expected) != {"size", "sha256"}:
            raise _FaultError(f"{MANIFEST}: {name!r} is no file of a checkpoint")


def _check_file(path: Path, expected: dict[str, Any]) -> None:
    if not path.is_file():
        raise _FaultError(f"{path.name} is missing")
    if path.stat().st_size != expected["size"]:
        raise _FaultError(f"{path.name}: {path.stat().st_size:,} bytes instead of {expected['size']:,}")
    with path.open("rb") as file:
        if hashlib.file_digest(file, "sha256").hexdigest() != expected["sha256"]:
            raise _FaultError(f"{path.name}: sha256 mismatch")


def _sealed(manifest: dict[str, Any]) -> bytes:
    """The text of the manifest; its last line is the SHA-256 of the text without it."""
    return _text({**manifest, "sha256": hashlib.sha256(_text(manifest)).hexdigest()})


def _text(manifest: dict[str, Any]) -> bytes:
    return (json.dumps(manifest, indent=2) + "\n").encode()
