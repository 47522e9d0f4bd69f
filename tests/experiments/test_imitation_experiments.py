"""The examples that imitate: what their experts do, what their stages are, and that demonstrations reach PPO."""

from __future__ import annotations

import json
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from tests.demonstrations import datasets
from trainctl.cli.app import main
from trainctl.core.engine.commands.dry_run import play_expert
from trainctl.core.engine.environments import build_environments
from trainctl.core.experiment_file import load_experiment

pytest.importorskip("minigrid")
__all__ = ["datasets"]  # a fixture

FOLDER = Path(__file__).parents[2] / "experiments"


def experiment(name: str, **settings: str) -> Any:
    return load_experiment(FOLDER / f"{name}.py", settings).experiment


def module(name: str) -> ModuleType:
    import importlib.util

    spec = importlib.util.spec_from_file_location(name, FOLDER / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    loaded = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(loaded)
    return loaded


def typed(capsys: pytest.CaptureFixture[str], *words: object) -> Any:
    """What the command prints with --json; it must end well."""
    with pytest.raises(SystemExit) as ended:
        main([*map(str, words), "--json"])
    said = capsys.readouterr()
    assert not ended.value.code, said.err
    return json.loads(said.out)


def last_means(run: str) -> dict[str, float]:
    """The means of the last interval."""
    last = (Path(run) / "metrics.jsonl").read_text().splitlines()[-1]
    means: dict[str, float] = json.loads(last)["means"]
    return means


@pytest.mark.parametrize(
    ("name", "wanted"), [("babyai_dagger_then_ppo", 0.9), ("doorkey_demonstrations", 0.9), ("poisoned_doors", 2.0)]
)
def test_the_expert_always_has_an_action_and_succeeds(name: str, wanted: float) -> None:
    environments = build_environments(experiment(name).environment, range(4), 0, "test")
    found = play_expert(environments, 0)
    environments.close()
    assert found.available == 1
    assert found.mean_return is not None
    assert found.mean_return >= wanted
    assert found.success in (1, None)


# PoisonedDoors


def test_a_poisoned_door_pays_two_or_costs_two_and_the_agent_cannot_see_which() -> None:
    env = module("poisoned_doors").PoisonedDoors()
    returns = {}
    for door in (1, 2, 3):
        shown = set()
        for seed in range(300):
            shown.add(env.reset(seed=seed)[0])
            _, reward, terminated, truncated, _ = env.step(door)
            returns.setdefault(door, []).append(reward)
            assert (terminated, truncated) == (True, False)
        assert shown == {0}
    for door in (1, 2, 3):
        assert set(returns[door]) == {-2.0, 2.0}
        assert sum(returns[door]) / 300 == pytest.approx(-2 / 3, abs=0.35)


def test_the_lock_opens_with_the_whole_code_and_a_wrong_digit_ends_with_nothing() -> None:
    doors = module("poisoned_doors")
    env = doors.PoisonedDoors()
    env.reset(seed=0)
    assert env.step(4)[:3] == (0, 0.0, False)  # a digit at the doors does nothing
    assert env.step(0)[:3] == (1, 0.0, False)
    assert env.step(2)[:3] == (1, 0.0, False)  # a door at the lock does nothing
    for digits, digit in enumerate(doors.CODE, start=1):
        assert env.expert_action() == 4 + digit
        place, reward, terminated, _, _ = env.step(4 + digit)
        assert (reward, terminated) == ((1.0, True) if digits == 10 else (0.0, False))
        assert digits == 10 or place == 1 + digits
    env.reset(seed=0)
    env.step(0)
    assert env.step(4 + (doors.CODE[0] + 1) % 3)[1:3] == (0.0, True)


def test_the_doors_close_after_a_hundred_steps() -> None:
    env = module("poisoned_doors").poisoned_doors()
    env.reset(seed=0)
    ends = [env.step(4)[2:4] for _ in range(100)]
    assert ends == [(False, False)] * 99 + [(False, True)]


@pytest.mark.parametrize("method", ["imitation", "ppo", "dagger_then_ppo"])
def test_each_method_trains(
    method: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    settings = ("--set", f"method={method}", "--set", "steps=4000")
    trained = typed(capsys, "run", FOLDER / "poisoned_doors.py", *settings, "--device", "cpu")
    assert (trained["status"], trained["total_steps"]) == ("complete", 4000)
    means = last_means(trained["run"])
    assert ("loss/imitation/expert_cross_entropy" in means) == (method == "imitation")


@pytest.mark.parametrize(
    ("name", "dataset", "settings"),
    [
        ("poisoned_doors", "poisoned-doors/expert-v0", ["method=demonstrations_and_ppo", "steps=2000"]),
        ("doorkey_demonstrations", "doorkey/expert-v0", ["steps=1"]),
    ],
)
def test_recorded_demonstrations_train_beside_ppo(
    name: str,
    dataset: str,
    settings: list[str],
    tmp_path: Path,
    datasets: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    words = [word for setting in settings for word in ("--set", setting)]
    with pytest.raises(SystemExit) as ended:
        main(["run", str(FOLDER / f"{name}.py"), *words])
    assert ended.value.code == 2
    assert f"trainctl record-demonstrations EXPERIMENT.py --episodes 500 --output {dataset}" in capsys.readouterr().err
    assert not (tmp_path / "runs").exists()

    recorded = typed(capsys, "record-demonstrations", FOLDER / f"{name}.py", "--episodes", 20, "--output", dataset)
    assert (recorded["dataset"], recorded["episodes"]) == (dataset, 20)
    trained = typed(capsys, "run", FOLDER / f"{name}.py", *words, "--device", "cpu")
    means = last_means(trained["run"])
    assert means["off_policy/cloning/cross_entropy"] > 0
    assert "loss/ppo/policy" in means


def test_each_lesson_of_the_curriculum_has_its_own_room_and_goal() -> None:
    stages = experiment("doorkey_curriculum").pipeline.pipeline_stages
    sizes = []
    for stage in stages:
        env = stage.environment()
        sizes.append(env.unwrapped.width)
        assert (stage.early_stopping_criterion.tag, stage.early_stopping_criterion.threshold) == (
            "episode/success",
            0.9,
        )
    assert sizes == [5, 6, 8]
