from __future__ import annotations

import json
from pathlib import Path

import pytest
from PIL import Image

from tests.cli.conftest import TINY, Trainctl
from tests.end_to_end.test_resume import killed_after
from trainctl import TrainctlError
from trainctl.core.engine.commands.replay_episode import find_episode


@pytest.fixture
def longer(trainctl: Trainctl, tmp_path: Path) -> Path:
    """Twelve rollouts of 32 steps in two environments, with an expert that is asked and sometimes obeyed."""
    settings = ["--set", "steps=192", "--set", "last_steps=192", "--set", "save_interval=64"]
    assert trainctl("run", TINY, "--name", "longer", "--quiet", *settings).code == 0
    return tmp_path / "runs" / "longer"


def silent(text: str) -> None:
    """Says nothing."""


def test_an_episode_is_the_same_from_whichever_checkpoint_it_is_found(longer: Path, tmp_path: Path) -> None:
    found = find_episode(longer, 1, 3, None, silent)
    assert found.record.length == len(found.actions) > 5
    assert found.asked
    from_the_start = find_episode(killed_after(longer, tmp_path, 0), 1, 3, None, silent)
    assert [int(action) for action in from_the_start.actions] == [int(action) for action in found.actions]
    assert (from_the_start.seed, from_the_start.record) == (found.seed, found.record)


def test_the_episodes_of_the_run_are_those_that_its_metrics_tell_of(longer: Path) -> None:
    """All episodes of an interval together have the mean length that was logged."""
    lines = [json.loads(line) for line in (longer / "metrics.jsonl").read_text().splitlines()]
    first = next(line for line in lines if "episode/length" in line["means"])
    ended = [find_episode(longer, index, 0, None, silent) for index in (0, 1)]
    until = first["total_steps"]
    lengths = [one.record.length for one in ended if one.total_steps < until]
    assert len(lengths) == first["counts"]["episode/length"]
    assert sum(lengths) / len(lengths) == first["means"]["episode/length"]


def test_it_is_filmed_and_the_run_stays_as_it_was(trainctl: Trainctl, longer: Path) -> None:
    before = {path: path.read_bytes() for path in longer.rglob("*") if path.is_file()}
    said = trainctl("replay", "runs/longer", "--episode", 2, "--environment", 1)
    assert said.code == 0, said.err
    film = longer / "videos" / "environment-1-episode-2.gif"
    assert str(film.relative_to(longer.parent.parent)) in said.out
    with Image.open(film) as image:
        length = image.n_frames - 1
    assert f"length {length}" in said.out
    assert {path: path.read_bytes() for path in before} == before
    assert set(before) | {film} == {
        path for path in longer.rglob("*") if path.is_file() and "__pycache__" not in path.parts
    } | set(before)


def test_what_there_is_not_is_refused_in_words(trainctl: Trainctl, longer: Path) -> None:
    with pytest.raises(TrainctlError, match="ended before episode 500 of environment 0"):
        find_episode(longer, 0, 500, None, silent)
    for words, complaint in (
        (["--episode", 1, "--environment", 7], "there is no environment 7"),
        (["--episode", 1, "--stage", "nope"], "there is no stage 'nope'"),
        ([], "say what to replay"),
    ):
        said = trainctl("replay", "runs/longer", *words)
        assert said.code == 2
        assert complaint in said.err


@pytest.mark.parametrize("condition", ["self.steps == 3", "self.questions == 3"], ids=["steps", "questions"])
def test_a_reward_that_is_no_number_fails_again_as_it_did_in_training(
    trainctl: Trainctl, tmp_path: Path, condition: str
) -> None:
    stepped = "observation, reward, *rest = super().step(action)"
    given = f"return (observation, None if {condition} else reward, *rest)"
    source = TINY.read_text().replace("return super().step(action)", f"{stepped}\n        {given}")
    source = source.replace("position, _, angle", "self.questions += 1\n        position, _, angle")
    source = source.replace(
        "class Balancing(gymnasium.Wrapper):", "class Balancing(gymnasium.Wrapper):\n    questions = 0"
    )
    (tmp_path / "unpaid.py").write_text(source)
    assert trainctl("run", "unpaid.py", "--name", "unpaid", "--quiet").code == 7
    said = trainctl("replay", "runs/unpaid", "--failure", "environment-1-episode-0")
    assert said.code == 0
    then, now = said.out.splitlines()[1:]
    assert then.removeprefix("  then: ") == now.removeprefix("  now:  ")
    assert "NoneType" in now
    assert now.endswith("in step 3")
