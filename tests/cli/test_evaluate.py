from __future__ import annotations

import shutil
from pathlib import Path

from tests.cli.conftest import TINY, Trainctl


def test_json_has_each_metric_with_its_interval(trainctl: Trainctl, finished: Path) -> None:
    said = trainctl("evaluate", "--checkpoint", "runs/first", "--episodes", 5, "--json")
    assert said.code == 0
    document = said.document
    assert set(document) == {"checkpoint", "episodes", "return", "length"}
    assert (document["checkpoint"], document["episodes"]) == ("runs/first/checkpoints/step-000000000128", 5)
    low, high = document["return"]["ci95"]
    assert 1 <= low <= document["return"]["mean"] <= high <= 500
    assert document["return"] == document["length"]


def test_the_same_seed_plays_the_same_episodes_and_sampling_plays_others(trainctl: Trainctl, finished: Path) -> None:
    words = ["evaluate", "runs/first", "--episodes", "5", "--json"]
    once, again = trainctl(*words).document, trainctl(*words, "--seed", "0").document
    sampled, otherwise = trainctl(*words, "--sample").document, trainctl(*words, "--seed", "1").document
    assert once == again
    assert once["return"] not in (sampled["return"], otherwise["return"])


def test_the_table_names_the_checkpoint(trainctl: Trainctl, finished: Path) -> None:
    said = trainctl("evaluate", "--checkpoint", "runs/first/checkpoints/step-000000000064", "--episodes", 3)
    lines = said.out.splitlines()
    assert lines[0] == "3 episodes of runs/first/checkpoints/step-000000000064, most probable actions"
    assert [line.split()[0] for line in lines if "…" in line] == ["return", "length"]


def test_a_run_without_checkpoints_is_refused(trainctl: Trainctl) -> None:
    assert trainctl("run", TINY, "--name", "first", "--set", "save_interval=none", "--quiet").code == 0
    said = trainctl("evaluate", "--checkpoint", "runs/first")
    assert said.code == 3
    assert "runs/first has no checkpoint to take a model from" in said.err


def test_a_checkpoint_from_elsewhere_needs_the_user_s_own_experiment(
    trainctl: Trainctl, finished: Path, tmp_path: Path
) -> None:
    foreign = tmp_path / "downloads" / "model"
    shutil.copytree(finished / "checkpoints" / "step-000000000128", foreign)
    shutil.rmtree(finished)
    said = trainctl("evaluate", "--checkpoint", foreign, "--episodes", 2)
    assert said.code == 3
    assert "is in no run directory" in said.err
    assert "--experiment" in said.err
    own = trainctl("evaluate", "--checkpoint", foreign, "--experiment", TINY, "--episodes", 2, "--json")
    assert own.code == 0, own.err
    assert own.document["checkpoint"] == str(foreign)
    assert own.document["episodes"] == 2
    heir = trainctl("run", TINY, "--init-from", foreign, "--name", "heir", "--quiet")
    assert heir.code == 0, heir.err


def test_whoever_takes_a_model_from_an_older_checkpoint_hears_of_the_damaged_one(
    trainctl: Trainctl, finished: Path
) -> None:
    (finished / "checkpoints" / "step-000000000128" / "model.safetensors").write_bytes(b"")
    for words in (["evaluate", "runs/first", "--episodes", "1"], ["export", "runs/first"]):
        said = trainctl(*words)
        assert said.code == 0
        assert said.err.startswith("warning: step-000000000128 is damaged (")
        assert said.err.endswith("using step-000000000096\n")


def test_settings_go_with_an_experiment(trainctl: Trainctl, finished: Path) -> None:
    said = trainctl("evaluate", finished, "--set", "steps=3")
    assert said.code == 2
    assert "--set goes with --experiment" in said.err


def test_a_checkpoint_of_another_experiment_is_refused_in_words_and_leaves_nothing(
    trainctl: Trainctl, finished: Path, tmp_path: Path
) -> None:
    (tmp_path / "wider.py").write_text(TINY.read_text().replace("(8,)", "(16,)"))
    evaluated = trainctl("evaluate", "runs/first", "--experiment", "wider.py")
    begun = trainctl("run", "wider.py", "--init-from", "runs/first", "--name", "second")
    for said in (evaluated, begun):
        assert said.code == 3
        assert "does not fit the experiment's model" in said.err
        assert "policy_head.0.layers.0.weight: (8, 4) there, (16, 4) here" in said.err
        assert "  and 2 more" in said.err
        assert "is it a checkpoint of another experiment?" in said.err
    assert [run.name for run in (tmp_path / "runs").iterdir()] == ["first"]
