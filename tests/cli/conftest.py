from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from trainctl.cli.app import main

TINY = Path(__file__).parent / "experiments" / "tiny.py"


class Said(NamedTuple):
    code: int
    out: str
    err: str

    @property
    def document(self) -> Any:
        return json.loads(self.out)


Trainctl = Callable[..., Said]


@pytest.fixture
def trainctl(capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Trainctl:
    """Type a command in an empty directory; everything that reaches the file descriptors 1 and 2 is heard."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "100")
    monkeypatch.delenv("TRAINCTL_TRACEBACK", raising=False)

    def command(*words: object) -> Said:
        capfd.readouterr()
        with pytest.raises(SystemExit) as ended:
            main([str(word) for word in words])
        heard = capfd.readouterr()
        return Said(ended.value.code if isinstance(ended.value.code, int) else 0, heard.out, heard.err)

    return command


@pytest.fixture
def finished(trainctl: Trainctl, tmp_path: Path) -> Path:
    """A run of the tiny experiment that has come to its end."""
    assert trainctl("run", TINY, "--name", "first", "--quiet").code == 0
    return tmp_path / "runs" / "first"
