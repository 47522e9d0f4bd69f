"""The files that belong to an experiment are found in its code, without running it."""

from __future__ import annotations

from pathlib import Path

import pytest

from trainctl.core.source_files import code_of, edited, with_what_they_name


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    names = ("exp.py", "world.py", "gym_id.py", "deep/__init__.py", "deep/inner.py", "deep/beside.py", "unused.py")
    for name in (*names, "demos.pt", "maps/a.txt", "deep/own.txt", "runs/first/run.json", "trainctl/__init__.py"):
        (tmp_path / name).parent.mkdir(exist_ok=True, parents=True)
        (tmp_path / name).write_text("")
    return tmp_path


def named(folder: Path, code: str) -> list[str]:
    (folder / "exp.py").write_text(code)
    return sorted(file.relative_to(folder).as_posix() for file in with_what_they_name([folder / "exp.py"], folder))


@pytest.mark.parametrize(
    ("code", "found"),
    [
        ("def later():\n    import world", ["world.py"]),
        ("def later():\n    from deep import inner", ["deep/__init__.py", "deep/inner.py"]),
        ("register('Maze-v0', entry_point='gym_id:Maze')", ["gym_id.py"]),
        ("HERE / 'demos.pt', HERE / 'maps' / 'a.txt'", ["demos.pt", "maps"]),
        ("'', '.', '..', '/etc/passwd', 'demos.pt\\0', 'a long text ' * 9, 'gone.pt'", []),
        ("import trainctl, numpy, json, gone\nfrom trainctl import x", []),
        ("this is no Python", []),
    ],
)
def test_what_the_code_imports_anywhere_or_names_in_a_text_belongs_to_it(
    folder: Path, code: str, found: list[str]
) -> None:
    assert named(folder, code) == sorted(["exp.py", *found])


def test_what_is_named_by_what_was_named_belongs_to_it_too(folder: Path) -> None:
    (folder / "deep" / "inner.py").write_text("def later():\n    from . import beside\n    open(HERE / 'own.txt')\n")
    found = ["deep/__init__.py", "deep/beside.py", "deep/inner.py", "deep/own.txt", "exp.py"]
    assert named(folder, "import deep.inner") == found


def test_code_is_the_same_with_other_comments_and_under_another_name(folder: Path) -> None:
    before = "def f():\n    return '#1'\n"
    (folder / "exp.py").write_text(before)
    (folder / "world.py").write_text("# new\n\ndef f():  # says\n\n    return '#1'\n")
    (folder / "gym_id.py").write_text("def f():\n    return '#2'\n")
    (folder / "unused.py").write_bytes(b"\xff\0")
    was = code_of([folder / "exp.py"], folder)
    now = code_of([folder / name for name in ("world.py", "gym_id.py", "unused.py")], folder)
    assert edited(was, now) == ["gym_id.py", "unused.py"]
    assert edited({}, now) == []
