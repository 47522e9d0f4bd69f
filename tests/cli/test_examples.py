from __future__ import annotations

from pathlib import Path

import pytest

from tests.cli.conftest import Trainctl

EXPERIMENTS = Path(__file__).parents[2] / "experiments"


def test_every_experiment_of_the_checkout_is_listed_with_its_title(trainctl: Trainctl) -> None:
    listed = {example["name"]: example["title"] for example in trainctl("examples", "ls", "--json").document}
    assert set(listed) == {file.stem for file in EXPERIMENTS.glob("*.py")}
    assert listed["cartpole_ppo"].startswith("CartPole with PPO: the first experiment.")


def test_a_copied_example_is_the_same_and_can_be_inspected(trainctl: Trainctl, tmp_path: Path) -> None:
    assert trainctl("examples", "cp", "cartpole-ppo").code == 0
    assert (tmp_path / "cartpole_ppo.py").read_bytes() == (EXPERIMENTS / "cartpole_ppo.py").read_bytes()
    assert trainctl("inspect-pipeline", "cartpole_ppo.py").code == 0


def test_what_is_there_is_not_overwritten_unless_asked(trainctl: Trainctl, tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text("mine")
    said = trainctl("examples", "cp", "cartpole_ppo", "mine.py")
    assert (said.code, (tmp_path / "mine.py").read_text()) == (2, "mine")
    assert "mine.py is there already" in said.err
    assert trainctl("examples", "cp", "cartpole_ppo", "mine.py", "--force").code == 0
    assert (tmp_path / "mine.py").read_text() != "mine"


def test_a_misspelt_example_is_answered_with_the_nearest(trainctl: Trainctl) -> None:
    said = trainctl("examples", "cp", "cartpole_pp")
    assert said.code == 2
    assert "cartpole_ppo" in said.err


def test_to_run_what_is_only_an_example_is_answered_with_how_to_copy_it(trainctl: Trainctl) -> None:
    for name in ("cartpole_ppo", "experiments/cartpole_ppo.py"):
        said = trainctl("run", name)
        assert said.code == 2
        assert f"there is no file {name}" in said.err
        assert "trainctl examples cp cartpole_ppo  &&  trainctl run cartpole_ppo.py" in said.err


def test_the_list_begins_with_the_first_experiment_and_breaks_no_word(
    trainctl: Trainctl, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    lines = trainctl("examples", "ls").out.splitlines()
    names = [line.split()[0] for line in lines if not line.startswith((" ", "─", "copy", "example ")) and line.strip()]
    assert names[0] == "cartpole_ppo"
    assert names.index("poisoned_doors") < names.index("babyai_dagger_then_ppo")  # which needs an extra
    assert any(line.strip() == "only its elbow. Short rollouts, one update for each." for line in lines)
