from __future__ import annotations

from typing import Any, cast

import pytest
import torch

from tests.core.engine.reporting.test_reporting import package
from trainctl import Builder, Experiment, PipelineStage, TrainingPipeline
from trainctl.core.engine.building import build_model
from trainctl.core.engine.environments import build_environments
from trainctl.core.engine.progress import Progress
from trainctl.core.engine.reporting.film_sink import FilmSink
from trainctl.core.engine.reporting.tensorboard_sink import TensorBoardSink
from trainctl.losses import PPO
from trainctl.models import MLPActorCritic


class Pictures:
    """Stands where TensorBoard would: total steps -> film."""

    def __init__(self) -> None:
        self.shown: dict[int, bytes] = {}

    def image(self, tag: str, encoded: bytes, size: tuple[int, int], total_steps: int) -> None:
        self.shown[total_steps] = encoded


def experiment() -> Experiment:
    stage = PipelineStage(loss_names=["ppo"], max_stage_steps=100)
    losses, adam = {"ppo": Builder(PPO)}, Builder(torch.optim.Adam, {"lr": 1e-3})
    pipeline = TrainingPipeline(
        named_losses=losses,
        pipeline_stages=[stage],
        optimizer_builder=adam,
        num_mini_batch=1,
        update_repeats=1,
        max_grad_norm=0.5,
        num_steps=8,
        gamma=0.99,
        use_gae=True,
        gae_lambda=0.95,
        advance_scene_rollout_period=None,
        save_interval=None,
        metric_accumulate_interval=8,
    )
    return Experiment(environment="CartPole-v1", num_envs=1, model=Builder(MLPActorCritic), pipeline=pipeline)


def sink_and_model(pictures: Pictures, progress: Progress) -> tuple[FilmSink, Any]:
    environments = build_environments("CartPole-v1", range(1), 0, "probe")
    model = build_model(experiment(), environments.observation_space, environments.action_space, seed=1)
    tensorboard = cast("TensorBoardSink", pictures)
    return FilmSink(experiment(), progress, lambda: model, tensorboard, pytest.fail, lambda: False), model


def test_a_film_is_of_the_model_as_it_was_when_it_was_begun() -> None:
    pictures, films = Pictures(), []
    for is_moved in (False, True):
        progress = Progress(total_steps=100)
        sink, model = sink_and_model(pictures, progress)
        sink.write(package(100))
        progress.total_steps = 200
        with torch.no_grad():
            for parameter in model.parameters():
                parameter.mul_(-1.0 if is_moved else 1.0)
        sink.close()
        films.append(pictures.shown.pop(100))
    assert films[0] == films[1]
    assert pictures.shown == {}
