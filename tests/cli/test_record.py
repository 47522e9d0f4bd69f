from __future__ import annotations

import importlib.util
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.cli.conftest import Trainctl

EXPERIMENT = '''
import gymnasium
import numpy as np
import torch
from trainctl import Builder, Experiment, PipelineStage, TrainingPipeline
from trainctl.losses import PPO
from trainctl.models import MLPActorCritic


class Lights(gymnasium.Env):
    """Five steps; drawn as a bar as long as the episode. Every second episode succeeds."""

    metadata = {"render_modes": ["rgb_array"], "render_fps": 10}
    observation_space = gymnasium.spaces.Box(-1, 1, (2,), np.float32)
    action_space = gymnasium.spaces.Discrete(2)
    render_mode = None

    def __init__(self, tells: bool = True) -> None:
        self.tells = tells

    def reset(self, seed=None, options=None):
        super().reset(seed=seed)
        self.steps, self.good = 0, bool(self.np_random.integers(2))
        return np.zeros(2, np.float32), {}

    def step(self, action):
        self.steps += 1
        over = self.steps == 5
        return np.zeros(2, np.float32), 1.0, over, False, {"success": self.good} if over and self.tells else {}

    def expert_action(self):
        return 1

    def render(self):
        image = np.zeros((40, 60, 3), np.uint8)
        image[:, : 10 * self.steps] = 255
        return image


def experiment(tells: bool = True) -> Experiment:
    return Experiment(
        environment=Builder(Lights, {"tells": tells}),
        num_envs=2,
        model=Builder(MLPActorCritic, {"hidden_sizes": (8,)}),
        pipeline=TrainingPipeline(
            named_losses={"ppo": Builder(PPO)},
            pipeline_stages=[PipelineStage(loss_names=["ppo"], max_stage_steps=32)],
            optimizer_builder=Builder(torch.optim.Adam, {"lr": 1e-3}),
            num_mini_batch=1, update_repeats=1, max_grad_norm=0.5, num_steps=16, gamma=0.99, use_gae=True,
            gae_lambda=0.95, advance_scene_rollout_period=None, save_interval=-1, metric_accumulate_interval=32,
        ),
    )
'''


@pytest.fixture
def lights(trainctl: Trainctl, tmp_path: Path) -> Path:
    (tmp_path / "lights.py").write_text(EXPERIMENT)
    assert trainctl("run", "lights.py", "--name", "first", "--quiet").code == 0
    return tmp_path / "runs" / "first"


@pytest.mark.usefixtures("lights")
def test_each_episode_becomes_a_film_with_a_frame_for_each_observation(trainctl: Trainctl) -> None:
    films = trainctl("record", "runs/first", "--episodes", 2, "--json").document
    assert len(films) == 2
    for film in films:
        assert Path(film["file"]).parent == Path("runs/first/videos/step-000000000032")
        assert (film["return"], film["length"]) == (5, 5)
        with Image.open(film["file"]) as image:
            assert image.n_frames == 6
            assert image.info["duration"] == 100
            assert image.width == 240
            drawn = np.asarray(image.convert("RGB"))
            assert not drawn[:160].any(), "nothing of the bar at the first step"
            assert drawn[160:].any(), "action and value stand below"


@pytest.mark.usefixtures("lights")
def test_only_failures_or_successes_are_kept_and_together_they_are_all(trainctl: Trainctl, tmp_path: Path) -> None:
    kept = {}
    for only, success in (("failures", 0), ("successes", 1)):
        words = ["record", "runs/first", "--episodes", 8, "--only", only, "--output", only, "--json"]
        kept[only] = trainctl(*words).document
        assert all(film["success"] == success for film in kept[only])
        assert {file.name for file in (tmp_path / only).iterdir()} == {Path(f["file"]).name for f in kept[only]}
    assert len(kept["failures"]) + len(kept["successes"]) == 8


def test_environments_that_tell_no_success_are_refused(trainctl: Trainctl, lights: Path) -> None:
    assert trainctl("run", "lights.py", "--name", "silent", "--set", "tells=false", "--quiet").code == 0
    said = trainctl("record", "runs/silent", "--only", "failures")
    assert said.code == 2
    assert "does not say whether an episode succeeded" in said.err


@pytest.mark.usefixtures("lights")
def test_an_mp4_is_written_or_its_absence_explained(trainctl: Trainctl, tmp_path: Path) -> None:
    said = trainctl("record", "runs/first", "--episodes", 1, "--format", "mp4", "--output", "films")
    if importlib.util.find_spec("av"):
        assert [file.suffix for file in (tmp_path / "films").iterdir()] == [".mp4"]
    else:
        assert said.code == 2
        assert "pip install 'trainctl[video]'" in said.err


@pytest.mark.usefixtures("lights")
def test_where_nothing_can_be_written_no_episode_is_played(trainctl: Trainctl, tmp_path: Path) -> None:
    (tmp_path / "taken").write_text("mine")
    for words in (["record", "runs/first"], ["replay", "runs/first", "--episode", 0]):
        said = trainctl(*words, "--output", "taken")
        assert said.code == 2
        assert "taken cannot be written: File exists\n  choose another place with --output" in said.err


def test_an_environment_that_draws_nothing_is_refused_with_the_reason(trainctl: Trainctl, tmp_path: Path) -> None:
    (tmp_path / "dark.py").write_text(EXPERIMENT.replace("def render", "def paint"))
    assert trainctl("run", "dark.py", "--name", "dark", "--quiet").code == 0
    said = trainctl("record", "runs/dark")
    assert said.code == 2
    assert "cannot be drawn: its render() raised NotImplementedError\n" in said.err
