from __future__ import annotations

import shutil
from pathlib import Path
from types import FunctionType

import numba
import pytest

from trainctl.core.models.machine_code import compiled


def twice(x: float) -> float:
    return 2 * x


def test_where_no_place_can_be_written_to_it_is_compiled_all_the_same() -> None:
    nowhere = FunctionType(twice.__code__.replace(co_filename="<nowhere>"), {})  # Numba finds no place beside that
    assert compiled(nowhere)(21.0) == 42.0


@pytest.mark.parametrize("damage", ["a full disk", "half a file"])
def test_machine_code_that_cannot_be_kept_is_compiled_again(
    damage: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(numba.config, "CACHE_DIR", str(tmp_path / "cache"))
    first, again = compiled(twice), compiled(twice)
    if damage == "a full disk":
        shutil.rmtree(tmp_path / "cache")
        (tmp_path / "cache").touch()  # nothing can be written below this
    assert first(21.0) == 42.0
    for file in (tmp_path / "cache").rglob("*.nb?"):
        file.write_bytes(file.read_bytes()[:9])
    assert again(21.0) == 42.0
