from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import gymnasium
import pytest
import torch

from trainctl import Builder, Experiment, PipelineStage, TrainingPipeline
from trainctl.core.engine.adjustments import NO_ADJUSTMENTS, Adjustments
from trainctl.core.errors import UsageError
from trainctl.losses import PPO
from trainctl.models import MLPActorCritic


def room() -> gymnasium.Env[Any, Any]:
    return gymnasium.make("CartPole-v1")


def experiment() -> Experiment:
    """Stages of 300, 500 (asked of a function) and 200 steps; the last saves by an interval of its own."""
    stages = [
        PipelineStage(loss_names=["ppo"], max_stage_steps=300, name="first"),
        PipelineStage(loss_names=["ppo"], max_stage_steps=lambda: 500, name="second"),
        PipelineStage(loss_names=["ppo"], max_stage_steps=200, save_interval=7),
    ]
    return Experiment(
        environment="CartPole-v1",
        num_envs=1,
        model=Builder(MLPActorCritic),
        pipeline=TrainingPipeline(
            named_losses={"ppo": Builder(PPO)},
            pipeline_stages=stages,
            optimizer_builder=Builder(torch.optim.Adam),
            num_mini_batch=1,
            update_repeats=1,
            max_grad_norm=None,
            num_steps=4,
            gamma=0.9,
            use_gae=True,
            gae_lambda=0.8,
            advance_scene_rollout_period=None,
            save_interval=50,
            metric_accumulate_interval=60,
        ),
    )


def budgets(adjusted: Experiment) -> list[int]:
    each = [stage.max_stage_steps for stage in adjusted.pipeline]
    return [budget() if callable(budget) else budget for budget in each]


def test_without_adjustments_the_experiment_is_the_same_object() -> None:
    written = experiment()
    assert NO_ADJUSTMENTS.apply(written) is written


@pytest.mark.parametrize(
    ("adjustments", "expected"),
    [
        (Adjustments(extend_steps=30), [300, 500, 230]),
        (Adjustments(total_steps=100), [30, 50, 20]),
        (Adjustments(total_steps=2000), [600, 1000, 400]),
        (Adjustments(total_steps=2), [1, 1, 1]),
        (Adjustments(total_steps=100, extend_steps=5), [30, 50, 25]),
    ],
)
def test_budgets_change(adjustments: Adjustments, expected: list[int]) -> None:
    written = experiment()
    assert budgets(adjustments.apply(written)) == expected
    assert budgets(written) == [300, 500, 200]


def test_a_last_stage_that_is_a_function_is_lengthened_too() -> None:
    written = experiment()
    pipeline = written.pipeline
    reversed_stages = [PipelineStage(["ppo"], 300), PipelineStage(["ppo"], lambda: 500)]
    object.__setattr__(pipeline, "pipeline_stages", tuple(reversed_stages))
    assert budgets(Adjustments(extend_steps=25).apply(written)) == [300, 525]


def test_intervals_are_in_force_in_every_stage() -> None:
    adjusted = Adjustments(save_interval=10, metric_accumulate_interval=20).apply(experiment())
    found = [adjusted.pipeline.settings_of(stage) for stage in adjusted.pipeline]
    assert [(own.save_interval, own.metric_accumulate_interval) for own in found] == [(10, 20)] * 3
    assert adjusted.pipeline.stage_names() == ["first", "second", "ppo"]


def test_stages_are_left_out_and_what_is_left_keeps_name_and_environment() -> None:
    written = experiment()
    stages = [replace(stage, name=None) for stage in written.pipeline]
    stages[0] = replace(stages[0], environment=room)
    written = replace(written, pipeline=replace(written.pipeline, pipeline_stages=stages))
    left = Adjustments(first_stage="ppo-2", extend_steps=1).apply(written)
    assert left.pipeline.stage_names() == ["ppo-2", "ppo-3"]
    assert budgets(left) == [500, 201]
    assert [stage.environment for stage in left.pipeline] == [room, None]
    first = Adjustments(first_stage="ppo-1").apply(written)
    assert budgets(first) == [300, 500, 200]


def test_a_first_stage_that_is_not_there_is_refused() -> None:
    with pytest.raises(UsageError, match=r"there is no stage 'frist'\n.*did you mean 'first'"):
        Adjustments(first_stage="frist").apply(experiment())


def test_what_run_json_holds_gives_the_same_adjustments() -> None:
    adjustments = Adjustments(extend_steps=3, total_steps=4, save_interval=5, first_stage="first")
    assert Adjustments(**json.loads(json.dumps(adjustments.to_json()))) == adjustments
