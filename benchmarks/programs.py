"""Runs what is measured: one program at a time, when the machine is calm, peers in environments of their own."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

HERE = Path(__file__).resolve().parent
PEERS = HERE / "peers"
LIMIT = 900.0  # seconds that a program may take
CALM = 0.3  # share of the processors' time in use, above which a measurement waits, 15 seconds at most


def run(command: Sequence[object], limit: float = LIMIT) -> str:
    """What the command writes to stdout; ends this program if it fails."""
    _wait_until_calm()
    words = [str(word) for word in command]
    done = subprocess.run(words, cwd=HERE, capture_output=True, text=True, timeout=limit)
    if done.returncode:
        raise SystemExit(f"{' '.join(words)} failed:\n{done.stderr[-3000:]}")
    return done.stdout


def python_of(peer: str) -> Path:
    """The Python of the peer's own virtual environment with its pinned versions; made when it is needed first, and when
    these have changed."""
    folder = HERE / ".venvs" / peer
    python, installed = folder / "bin" / "python", folder / "installed"
    wanted = "".join(file.read_text() for file in sorted(PEERS.glob(f"{peer}-*.txt")))
    if not installed.exists() or installed.read_text() != wanted:
        print(f"installing {peer}: minutes, once", file=sys.stderr)
        subprocess.run([sys.executable, "-m", "venv", "--clear", folder], check=True)
        install = [python, "-m", "pip", "install", "--quiet"]
        subprocess.run([*install, "-r", PEERS / f"{peer}-requirements.txt"], check=True)
        alone = PEERS / f"{peer}-alone.txt"  # what is installed without all that it asks for
        if alone.exists():
            build = {**os.environ, "NO_OCEAN": "1", "PYTHONPATH": str(PEERS / "building")}
            install += ["--no-deps", "--no-build-isolation", "--ignore-requires-python", "-r", alone]
            subprocess.run(install, check=True, cwd=HERE, env=build)
        installed.write_text(wanted)
    return python


def _wait_until_calm() -> None:
    deadline = time.monotonic() + 15
    while _busy_share() > CALM and time.monotonic() < deadline:
        time.sleep(1)


def _busy_share() -> float:
    """Share of the processors' time that anybody used in half a second; 0 where the system does not tell."""
    if not Path("/proc/stat").exists():
        return 0.0

    def ticks() -> tuple[int, int]:
        numbers = [int(number) for number in Path("/proc/stat").read_text().splitlines()[0].split()[1:9]]
        return sum(numbers), numbers[3] + numbers[4]

    (total, idle), _ = ticks(), time.sleep(0.5)
    now, now_idle = ticks()
    return 1 - (now_idle - idle) / max(now - total, 1)
