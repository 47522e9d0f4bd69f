from __future__ import annotations

from pathlib import Path

import pytest

from trainctl.core.engine.saving import kept_experiment
from trainctl.core.engine.saving.kept_experiment import keep_experiment
from trainctl.core.errors import UsageError
from trainctl.core.experiment_file import LoadedExperiment


def written(root: Path, **files: str) -> LoadedExperiment:
    """Files of these names, with "/" written as "__", the first of which is the experiment."""
    for name, text in files.items():
        file = root / name.replace("__", "/")
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
    none: object = None
    return LoadedExperiment(none, root / "exp.py", "exp", {})  # type: ignore[arg-type]


def test_the_source_is_copied_with_its_folders(tmp_path: Path) -> None:
    loaded = written(tmp_path / "source", **{"exp.py": "import parts.world", "parts__world.py": "# the world"})
    keep_experiment(loaded, tmp_path / "kept")
    assert (tmp_path / "kept" / "exp.py").read_text() == "import parts.world"
    assert (tmp_path / "kept" / "parts" / "world.py").read_text() == "# the world"
    loaded.path.unlink()
    with pytest.raises(UsageError, match=r"exp\.py cannot be copied to .*: No such file"):
        keep_experiment(loaded, tmp_path / "kept")


def test_small_data_are_copied_and_to_large_ones_and_to_folders_leads_a_link(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(kept_experiment, "COPIED_BYTES", 3)
    named = "'small', 'large', 'maps', 'maps/a', 'runs'"
    loaded = written(tmp_path, **{"exp.py": named, "small": "abc", "large": "abcd", "maps__a": "abc"})
    kept = tmp_path / "runs" / "first" / "experiment"
    kept.mkdir(parents=True)
    keep_experiment(loaded, kept)
    links = {path.name: path.is_symlink() for path in kept.iterdir()}
    assert links == {"exp.py": False, "small": False, "large": True, "maps": True}
    assert (kept / "large").read_text() == "abcd"
    assert (kept / "maps" / "a").read_text() == "abc"
