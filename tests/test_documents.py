"""What the documents show is run: commands in order, in an empty folder, and snippets as they stand.

A snippet whose docstring begins with `NAME.py: ` is that file for the commands of its document.
"""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from tests.kill.processes import Command

ROOT = Path(__file__).parents[1]
DOCUMENTS = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]


def blocks(document: Path, language: str) -> list[str]:
    """The contents of the document's fenced blocks of this language."""
    return re.findall(rf"^```{language}\n(.*?)^```", document.read_text(), re.MULTILINE | re.DOTALL)


def commands(document: Path) -> list[str]:
    """The lines of its bash blocks, without comments."""
    lines = [line.split("  #")[0].strip() for block in blocks(document, "bash") for line in block.splitlines()]
    return [line for line in lines if line and not line.startswith("#")]


WITH_COMMANDS = [document for document in DOCUMENTS if commands(document)]


@pytest.mark.timeout(600)
@pytest.mark.parametrize("document", WITH_COMMANDS, ids=lambda path: path.name)
def test_every_command_of_a_document_works_in_the_order_shown(document: Path, tmp_path: Path) -> None:
    (tmp_path / "experiments").symlink_to(ROOT / "experiments")
    for snippet in blocks(document, "python"):
        if name := re.match(r'"""(\w+\.py): ', snippet):
            (tmp_path / name[1]).write_text(snippet)
    for command in commands(document):
        program, *arguments = shlex.split(command)
        if program == "make":
            assert re.search(rf"^{arguments[0]}:", (ROOT / "Makefile").read_text(), re.MULTILINE), command
        elif program == "tensorboard":
            assert arguments == ["--logdir", "runs"], command
            assert list((tmp_path / "runs").glob("*/tensorboard/*tfevents*")), "there is something to look at"
        else:
            assert program == "trainctl", command
            run(arguments, tmp_path)


def run(arguments: list[str], folder: Path) -> None:
    """`trainctl ARGUMENTS` in the folder."""
    command = Command(folder, *arguments, environment={"PYTHONPATH": str(ROOT)})
    assert command.wait(240) == 0, f"trainctl {' '.join(arguments)}\n{command.said()[-3000:]}"


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_every_python_snippet_is_an_experiment_of_ours_or_runs(document: Path, tmp_path: Path) -> None:
    experiments = {path.read_text().strip() for path in (ROOT / "experiments").glob("*.py")}
    for snippet in blocks(document, "python"):
        if snippet.strip() not in experiments:
            process = subprocess.run(
                [sys.executable, "-c", snippet], cwd=tmp_path, env={**os.environ, "PYTHONPATH": str(ROOT)}, check=False
            )
            assert process.returncode == 0, snippet


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_every_link_leads_somewhere(document: Path) -> None:
    targets = re.findall(r"\]\(([^)#]+)\)", document.read_text())
    missing = [
        target for target in targets if not target.startswith("http") and not (document.parent / target).exists()
    ]
    assert not missing


def test_every_metric_of_a_run_is_described(tmp_path: Path) -> None:
    described = re.findall(r"`([a-z_]+/[^`]+)`", (ROOT / "docs" / "metrics.md").read_text())
    patterns = [re.compile(re.sub(r"<[a-z]+>|…", ".+", tag) + "$") for tag in described]
    (tmp_path / "experiments").symlink_to(ROOT / "experiments")
    run(["run", "experiments/cartpole_ppo.py", "--set", "steps=2_000", "--name", "first", "--quiet"], tmp_path)
    import json

    lines = (tmp_path / "runs" / "first" / "metrics.jsonl").read_text().splitlines()
    tags = {tag for line in lines for tag in json.loads(line)["means"]}
    assert tags
    assert [tag for tag in sorted(tags) if not any(pattern.match(tag) for pattern in patterns)] == []
