from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from trainctl.core.engine.workers.first_error import FirstError, first_error, write_error
from trainctl.core.errors import WorkerLostError


@dataclass
class End:
    """As torch's launcher gives it: whole seconds, and what the worker's file held."""

    exitcode: int = 1
    timestamp: int = 100
    error_file_data: dict[str, Any] = field(default_factory=dict)


def told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: Exception) -> End:
    file = tmp_path / "error.json"
    monkeypatch.setenv("TORCHELASTIC_ERROR_FILE", str(file))
    write_error(error, f"exp.py:7: {error}")
    data = json.loads(file.read_text())
    return End(1, data["timestamp"], data)


def test_the_first_error_in_time_is_the_one_even_within_a_second() -> None:
    ends = {3: End(error_file_data={"message": "late", "time": 100.5}), 5: End(6, 100, {"message": "x", "time": 100.2})}
    assert first_error(ends) == FirstError(5, 6, "x")


def test_a_worker_that_only_missed_another_is_not_the_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    missed = told(tmp_path, monkeypatch, WorkerLostError("another worker has ended"))
    assert first_error({0: missed, 1: told(tmp_path, monkeypatch, ValueError("no door"))}) == FirstError(
        1, 1, "exp.py:7: no door"
    )
    assert first_error({0: missed, 1: End(-9, missed.timestamp + 5)}) == FirstError(1, -9, "")
    told_to_end = End(-15, missed.timestamp - 5)
    assert first_error({0: told_to_end, 1: End(6, missed.timestamp)}) == FirstError(1, 6, "")
    assert first_error({0: missed}).text == "exp.py:7: another worker has ended"


def test_without_a_launcher_nothing_is_written(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("TORCHELASTIC_ERROR_FILE", raising=False)
    write_error(ValueError("no door"), "no door")


def test_a_worker_that_was_told_to_end_while_it_failed_is_the_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    missed = told(tmp_path, monkeypatch, WorkerLostError("another worker has ended"))
    failed = told(tmp_path, monkeypatch, ValueError("no door"))
    failed.exitcode = -15
    assert first_error({0: missed, 1: failed}) == FirstError(1, 1, "exp.py:7: no door")
