"""What is installed: ``trainctl`` and nothing else, though the folders are called core/ and cli/."""

from __future__ import annotations

import shutil
import subprocess
import sys
import sysconfig
import tomllib
from pathlib import Path, PurePosixPath
from zipfile import ZipFile

import pytest

ROOT = Path(__file__).resolve().parent.parent
PYPROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))
FOLDER_OF = {"trainctl": "trainctl", "trainctl.core": "core", "trainctl.cli": "cli"}
EXAMPLES = {"trainctl.examples": "experiments"}  # a folder of files for `trainctl examples`, no package

# -S leaves out what is installed beside this interpreter, an editable trainctl among it; what trainctl needs is put
# back by its bare path, in which no .pth file is obeyed.
LOOK_AROUND = """
import importlib.util, site, sys
installed, dependencies = sys.argv[1:]
site.addsitedir(installed)
sys.path.append(dependencies)
import trainctl.core.errors
print(trainctl.core.errors.__file__)
print([name for name in ("core", "cli", "tests", "experiments") if importlib.util.find_spec(name)])
"""


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A copy to build in, so that no build output of one test ends up in another's wheel."""
    copy = tmp_path / "checkout"
    for folder in (FOLDER_OF | EXAMPLES).values():
        shutil.copytree(ROOT / folder, copy / folder, symlinks=True, ignore=shutil.ignore_patterns("__pycache__"))
    for file in ("pyproject.toml", "MANIFEST.in", "LICENSE", "README.md"):
        shutil.copy(ROOT / file, copy / file)
    return copy


def build(kind: str, checkout: Path) -> Path:
    """The wheel, "build_wheel" or "build_editable", of the build backend that pip would call."""
    program = f"from setuptools import build_meta; build_meta.{kind}('dist')"
    subprocess.run([sys.executable, "-c", program], cwd=checkout, check=True, capture_output=True)
    (wheel,) = (checkout / "dist").glob("*.whl")
    return wheel


def install(wheel: Path, into: Path) -> Path:
    pip = [sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check"]
    subprocess.run([*pip, "install", "--no-deps", "--no-index", f"--target={into}", wheel], check=True)
    return into


def look_around(installed: Path, neutral: Path) -> tuple[Path, str]:
    """From a directory that is no checkout: where trainctl lies, and which generic names can be imported."""
    command = [sys.executable, "-I", "-S", "-c", LOOK_AROUND, installed, sysconfig.get_path("purelib")]
    done = subprocess.run(command, cwd=neutral, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    where, generic = done.stdout.splitlines()
    return Path(where).resolve(), generic


def test_pyproject_lists_every_package_on_disk() -> None:
    """setuptools leaves a forgotten one out of the wheel without a word."""
    on_disk = {
        ".".join((name, *init.parent.relative_to(ROOT / folder).parts))
        for name, folder in FOLDER_OF.items()
        for init in (ROOT / folder).rglob("__init__.py")
        if init == init.resolve()
    }
    assert sorted(PYPROJECT["tool"]["setuptools"]["packages"]) == sorted(on_disk | set(EXAMPLES))


def test_every_folder_with_a_source_file_is_a_package() -> None:
    folders = {file.parent for folder in FOLDER_OF.values() for file in (ROOT / folder).rglob("*.py")}
    assert [str(folder) for folder in sorted(folders) if not (folder / "__init__.py").is_file()] == []


@pytest.mark.parametrize("name", ["core", "cli"])
def test_the_folders_inside_trainctl_are_links(name: str) -> None:
    assert (ROOT / "trainctl" / name).readlink() == Path("..") / name


def test_torch_is_no_build_requirement() -> None:
    assert [name.partition(">")[0] for name in PYPROJECT["build-system"]["requires"]] == ["setuptools"]


def test_the_wheel_holds_trainctl_and_nothing_else(checkout: Path) -> None:
    with ZipFile(build("build_wheel", checkout)) as wheel:
        files = {PurePosixPath(name) for name in wheel.namelist()}
        (entry_points,) = (wheel.read(str(file)).decode() for file in files if file.name == "entry_points.txt")
    sources = {PurePosixPath(name.replace(".", "/")): ROOT / folder for name, folder in (FOLDER_OF | EXAMPLES).items()}
    expected = {
        package / file.relative_to(folder) for package, folder in sources.items() for file in python_below(folder)
    }
    assert {file for file in files if file.suffix == ".py"} == expected
    assert {file.parts[0] for file in files} == {"trainctl", f"trainctl-{PYPROJECT['project']['version']}.dist-info"}
    assert PurePosixPath("trainctl/py.typed") in files
    assert "trainctl = trainctl.cli.app:main" in entry_points


def python_below(folder: Path) -> list[Path]:
    return [file for file in folder.rglob("*.py") if file == file.resolve()]


def test_an_install_makes_no_generic_name_importable(checkout: Path, tmp_path: Path) -> None:
    installed = install(build("build_wheel", checkout), tmp_path / "installed")
    assert look_around(installed, tmp_path) == (installed / "trainctl/core/errors.py", "[]")


def test_an_editable_install_makes_no_generic_name_importable(checkout: Path, tmp_path: Path) -> None:
    installed = install(build("build_editable", checkout), tmp_path / "installed")
    assert look_around(installed, tmp_path) == (checkout / "core/errors.py", "[]")


def test_a_checkout_whose_links_came_out_as_text_can_be_installed(checkout: Path, tmp_path: Path) -> None:
    """As git leaves them on Windows for a user who may not make links."""
    for name in ("core", "cli"):
        (checkout / "trainctl" / name).unlink()
        (checkout / "trainctl" / name).write_text(f"../{name}")
    installed = install(build("build_wheel", checkout), tmp_path / "installed")
    assert look_around(installed, tmp_path) == (installed / "trainctl/core/errors.py", "[]")
