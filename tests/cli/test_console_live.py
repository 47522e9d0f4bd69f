"""The live display, as a terminal of a given size receives it."""

from __future__ import annotations

import fcntl
import os
import pty
import re
import struct
import subprocess
import sys
import termios
from pathlib import Path

import pytest

from tests.cli.conftest import TINY

ESCAPE = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")


def in_a_terminal(width: int, folder: Path, *words: str) -> str:
    """Everything that a terminal of this width is sent by the command, with its colours taken out."""
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 40, width, 0, 0))
    environment = {name: value for name, value in os.environ.items() if name not in ("COLUMNS", "LINES", "NO_COLOR")}
    process = subprocess.Popen(
        [sys.executable, "-m", "trainctl", *words],
        cwd=folder,
        env={**environment, "TERM": "xterm-256color", "PYTHONPATH": str(TINY.parents[3])},
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
    )
    os.close(theirs)
    received = b""
    while data := _read(ours):
        received += data
    os.close(ours)
    process.wait(timeout=60)
    return ESCAPE.sub("", received.decode()).replace("\r\n", "\n")


def _read(descriptor: int) -> bytes:
    try:
        return os.read(descriptor, 65536)
    except OSError:  # so Linux says that nobody holds the other end any more
        return b""


@pytest.mark.parametrize("width", [80, 140])
def test_stages_means_and_next_commands_fit_the_terminal(tmp_path: Path, width: int) -> None:
    lines = in_a_terminal(width, tmp_path, "run", str(TINY), "--name", "first").splitlines()
    last = max(number for number, line in enumerate(lines) if line.startswith("runs/first  new run"))
    picture = lines[last : lines.index("complete: 128 steps")]
    assert max(len(line.rstrip()) for line in picture) <= width
    assert re.fullmatch(r"✓ warm up       ━+ +64 / 64 100%  steps taken *", picture[1])
    assert re.fullmatch(r"✓ ppo\+imitation ━+ +64 / 64 100%  steps taken *", picture[2])
    assert any(re.match(r"return +[\d.]+ [▁-█]+", line) for line in picture)
    assert any("steps_per_second" in line for line in picture)
    assert "  evaluate    trainctl evaluate --checkpoint runs/first" in lines


def test_what_the_user_and_the_children_print_stands_above_the_picture_on_lines_of_its_own(tmp_path: Path) -> None:
    lines = in_a_terminal(100, tmp_path, "run", str(TINY), "--name", "first", "--set", "prints=true").splitlines()
    for line in ("printed by the user", "written past Python", "said by a child"):
        assert line in [shown.strip() for shown in lines]


def test_the_first_of_two_workers_draws_and_keeps_what_it_says_in_its_log(tmp_path: Path) -> None:
    words = ["run", str(TINY), "--name", "first", "--set", "prints=true", "--nproc", "2"]
    shown = in_a_terminal(100, tmp_path, *words)
    assert re.search(r"✓ warm up       ━+ +64 / 64 100%  steps taken", shown)
    assert "\ncomplete: 128 steps\n" in shown
    (log,) = (tmp_path / "runs" / "first" / "logs").glob("*/attempt_0/0/stderr.log")
    kept = log.read_text()
    assert "\x1b" not in kept
    assert "━" not in kept
    lines = kept.splitlines()
    assert {"runs/first: no checkpoint yet: from the start", "printed by the user"} <= set(lines)
    assert [line.split()[0] for line in lines if "steps/s" in line] == ["32", "64", "96", "128"]


def test_a_failure_stands_between_two_lines_and_its_commands_below_them(tmp_path: Path) -> None:
    words = ["run", str(TINY), "--name", "first", "--set", "breaks_at=64"]
    lines = in_a_terminal(80, tmp_path, *words).splitlines()
    (top,) = (
        number for number, line in enumerate(lines) if line.startswith("error: ValueError: the teacher went home")
    )
    assert lines[top - 1].startswith("trainctl ───")
    assert lines[-1] == f"  once mended      trainctl resume --checkpoint runs/first --experiment {TINY}"


def test_plain_is_plain_on_a_terminal_as_well(tmp_path: Path) -> None:
    text = in_a_terminal(80, tmp_path, "run", str(TINY), "--name", "first", "--plain")
    assert "━" not in text
    assert "stage 1 begins: warm up\n" in text
