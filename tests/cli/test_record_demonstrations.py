from __future__ import annotations

from pathlib import Path

import pytest

from tests.cli.conftest import Trainctl
from tests.demonstrations import datasets

minari = pytest.importorskip("minari")
__all__ = ["datasets"]  # a fixture

pytestmark = pytest.mark.usefixtures("datasets")

EXPERT = """
import gymnasium
import torch
from trainctl import Builder, Experiment, PipelineStage, TrainingPipeline
from trainctl.losses import PPO
from trainctl.models import MLPActorCritic


class Corridor(gymnasium.Env):
    observation_space, action_space = gymnasium.spaces.Discrete(5), gymnasium.spaces.Discrete(2)

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.place = int(self.np_random.integers(4))
        return self.place, {}

    def step(self, action):
        self.place += int(action)
        over = self.place == 4
        return self.place, float(over), over, False, {"success": 1.0} if over else {}

    def expert_action(self):
        return 1


def experiment(steps: int = 64) -> Experiment:
    return Experiment(Corridor, 2, Builder(MLPActorCritic), TrainingPipeline(
        {"ppo": Builder(PPO)}, [PipelineStage(["ppo"], steps)], Builder(torch.optim.Adam, {"lr": 1e-3}),
        num_mini_batch=1, update_repeats=1, max_grad_norm=None, num_steps=16, gamma=0.9, use_gae=True, gae_lambda=0.9,
        advance_scene_rollout_period=None, save_interval=0, metric_accumulate_interval=64))
"""


@pytest.fixture
def corridor(tmp_path: Path) -> Path:
    file = tmp_path / "corridor.py"
    file.write_text(EXPERT)
    return file


def test_the_expert_plays_into_a_dataset(trainctl: Trainctl, corridor: Path) -> None:
    words = ("record-demonstrations", corridor, "--episodes", 6, "--output", "corridor/expert-v0")
    said = trainctl(*words, "--json")
    assert said.code == 0, said.err
    dataset = minari.load_dataset("corridor/expert-v0")
    document = said.document
    assert (document["means"]["return"], document["means"]["success"]) == (1, 1)
    assert {key: value for key, value in document.items() if key != "means"} == {
        "dataset": "corridor/expert-v0",
        "path": str(minari.storage.get_dataset_path("corridor/expert-v0")),
        "episodes": 6,
        "steps": dataset.total_steps,
        "left_out": 0,
    }

    again = trainctl(*words)
    assert again.code == 2
    assert "never overwritten" in again.err


def test_the_same_seed_records_the_same_episodes(trainctl: Trainctl, corridor: Path) -> None:
    for name, seed in (("a-v0", 1), ("b-v0", 1), ("c-v0", 2)):
        assert trainctl("record-demonstrations", corridor, "--episodes", 9, "--output", name, "--seed", seed).code == 0
    starts = {
        name: [int(episode.observations[0]) for episode in minari.load_dataset(name)]
        for name in ("a-v0", "b-v0", "c-v0")
    }
    assert starts["a-v0"] == starts["b-v0"]
    assert starts["a-v0"] != starts["c-v0"]


def test_a_checkpoint_plays_into_a_dataset(trainctl: Trainctl, corridor: Path) -> None:
    assert trainctl("run", corridor, "--name", "first", "--quiet").code == 0
    words = ("record-demonstrations", corridor, "--checkpoint", "runs/first", "--sample", "--episodes", 3)
    said = trainctl(*words, "--output", "corridor/model-v0")
    assert said.code == 0, said.err
    lines = said.out.splitlines()
    assert lines[0] == "corridor/model-v0"
    assert lines[1].startswith("3 episodes, ")
    assert minari.load_dataset("corridor/model-v0").total_episodes == 3


def test_an_experiment_without_an_expert_is_refused(trainctl: Trainctl, corridor: Path) -> None:
    corridor.write_text(EXPERT.replace("expert_action", "advice"))
    said = trainctl("record-demonstrations", corridor, "--episodes", 3, "--output", "tiny-v0")
    assert said.code == 2
    assert "no expert_action()" in said.err


@pytest.mark.parametrize("name", ["corridor", "corridor v0"])
def test_a_bad_name_is_refused_before_anything_is_played(name: str, trainctl: Trainctl, corridor: Path) -> None:
    said = trainctl("record-demonstrations", corridor, "--episodes", 3, "--output", name)
    assert said.code == 2
    assert "is no name for a dataset" in said.err
