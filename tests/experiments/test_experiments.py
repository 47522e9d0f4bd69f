"""Every ready example is trained for one small rollout and played, by the commands that a user types."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from trainctl.cli.app import main
from trainctl.core.engine.environments import build_environments
from trainctl.core.experiment import Experiment
from trainctl.core.experiment_file import load_experiment

FOLDER = Path(__file__).parents[2] / "experiments"

NAMES = sorted(path.stem for path in FOLDER.glob("*.py"))
# what makes a training short, where steps=1 (one rollout) is not short enough or not possible
SHORT = {
    "babyai_dagger_then_ppo": ["imitation_steps=1", "ppo_steps=1"],
    "doorkey_curriculum": ["steps_per_stage=1"],
    "doorkey_demonstrations": ["steps=1", "updates=0"],
    "halfcheetah_ppo": ["steps=1", "num_envs=2", "num_steps=16"],
    "pendulum_ppo": ["steps=1", "num_steps=32"],
    "poisoned_doors": ["steps=2"],
    "pong_ppo": ["steps=1", "num_envs=2", "num_steps=8"],
}


@pytest.mark.parametrize("name", NAMES)
def test_it_trains_and_can_be_evaluated(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    settings = [word for setting in SHORT.get(name, ["steps=1"]) for word in ("--set", setting)]

    trained = typed(capsys, "run", FOLDER / f"{name}.py", *settings, "--device", "cpu")
    assert trained["status"] == "complete"

    played = typed(capsys, "evaluate", "--checkpoint", trained["checkpoint"], "--episodes", 1)
    assert played["episodes"] == 1
    assert np.isfinite(played["return"]["mean"])


def test_pong_shows_the_last_four_frames_to_the_network_of_mnih_et_al() -> None:
    pong = experiment("pong_ppo")
    environments = build_environments(pong.environment, range(1), 0, "test")
    space = environments.observation_space
    model = pong.model(observation_space=space, action_space=environments.action_space)
    environments.close()
    assert space.shape == (4, 84, 84)
    assert space.dtype == np.uint8
    layers = [layer for layer in model.modules() if isinstance(layer, torch.nn.Conv2d)]
    assert [layer.weight.shape for layer in layers] == [(32, 4, 8, 8), (64, 32, 4, 4), (64, 64, 3, 3)]


def test_halfcheetah_normalizes_what_it_sees_and_what_it_is_given() -> None:
    halfcheetah = experiment("halfcheetah_ppo")
    assert halfcheetah.normalize_rewards
    assert halfcheetah.model.kwargs["normalize_observations"] is True


def experiment(name: str) -> Experiment:
    return load_experiment(FOLDER / f"{name}.py", {}).experiment


def typed(capsys: pytest.CaptureFixture[str], *words: object) -> Any:
    """What the command prints with --json; it must end well."""
    with pytest.raises(SystemExit) as ended:
        main([*map(str, words), "--json"])
    said = capsys.readouterr()
    assert not ended.value.code, said.err
    return json.loads(said.out)
