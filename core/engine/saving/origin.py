"""Where something was made: the versions of what made it, and the state of the source."""

from __future__ import annotations

import os
import platform
import subprocess
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any


def versions() -> dict[str, str]:
    """The versions that can change what a training gives, by name."""
    import torch

    packages = {name: _version(name) for name in ("trainctl", "numpy", "numba", "gymnasium")}
    # torch's own word also says for which devices it was built
    return {**packages, "torch": str(torch.__version__), "python": platform.python_version()}


def git_state(folder: Path) -> dict[str, Any]:
    """The commit that `folder` is at, and whether files in it differ from that; {} where git cannot say."""
    commit = _git(folder, "rev-parse", "HEAD")
    changes = _git(folder, "status", "--porcelain", "--", ".")
    return {} if commit is None or changes is None else {"commit": commit, "dirty": bool(changes)}


@cache  # reading it takes longer than writing a small checkpoint
def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "unknown"


def _git(folder: Path, *arguments: str) -> str | None:
    command = ["git", "-c", "core.fsmonitor=false", "-C", str(folder), *arguments]
    quietly = {**os.environ, "GIT_OPTIONAL_LOCKS": "0"}
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=5, env=quietly, check=False)
    except (OSError, subprocess.SubprocessError, UnicodeDecodeError):
        return None
    return done.stdout.strip() if done.returncode == 0 else None
