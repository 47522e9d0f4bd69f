from __future__ import annotations

from pathlib import Path

import pytest
import torch

from trainctl.core.engine.commands import doctor


def test_a_containers_limit_below_the_cores_is_a_warning(tmp_path: Path) -> None:
    limits = tmp_path / "cpu.max"
    limits.write_text("50000 100000\n")
    found = doctor.cores(limits)
    assert found.state == doctor.WARNING
    assert "limited to 0.5" in found.found
    limits.write_text("max 100000\n")
    assert doctor.cores(limits).state == doctor.OK


def test_a_gpu_that_torch_cannot_use_is_a_warning(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    driver = tmp_path / "nvidia0"
    assert doctor.cuda(driver).state == doctor.OK
    driver.touch()
    assert doctor.cuda(driver).state == doctor.WARNING


def test_a_place_without_locks_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert doctor.file_locks(tmp_path).state == doctor.OK

    class KeepsNobodyOut:
        def __init__(self, path: Path) -> None: ...

        def acquire(self, timeout: float) -> None: ...

        def __enter__(self) -> None: ...

        def __exit__(self, *exception: object) -> None: ...

    monkeypatch.setattr(doctor, "FileLock", KeepsNobodyOut)
    found = doctor.file_locks(tmp_path)
    assert found.state == doctor.ERROR
    assert "--runs-dir" in found.mend


def test_no_shared_memory_is_a_warning(tmp_path: Path) -> None:
    assert doctor.shared_memory(tmp_path / "shm").state == doctor.WARNING
