"""Stages and pipelines: what they refuse between them, where, and what they answer."""

from __future__ import annotations

import gc
import math
from dataclasses import FrozenInstanceError, replace

import pytest

from tests.core.declarations import component, only_fault_of, pipeline, ppo, stage
from trainctl import Builder, ExperimentError, PipelineStage, TrainingPipeline, TrainingSettings
from trainctl.core.errors import collect_faults

# What is refused, and where


def test_a_fault_is_located_where_the_argument_is_given() -> None:
    with collect_faults() as faults:
        PipelineStage(
            ["ppo"],
            max_stage_steps=0,
            gamma=2,
        )
    assert [fault.location and fault.location.source for fault in faults] == ["gamma=2,", "max_stage_steps=0,"]
    assert all(fault.location and fault.location.file == __file__ for fault in faults)


def test_a_stage_made_from_another_is_located_where_that_happens() -> None:
    fault = only_fault_of(lambda: replace(stage(), max_stage_steps=0))  # here
    assert fault.location is not None
    assert fault.location.source.endswith("# here")


def test_an_unknown_loss_is_refused_with_the_nearest_one() -> None:
    fault = only_fault_of(lambda: pipeline(stage("imitatoin", name="warm-up")))
    assert fault.message == "the stage 'warm-up' uses the loss 'imitatoin', which is not in named_losses"
    assert fault.hint == "known: 'ppo', 'imitation', 'clone' (did you mean 'imitation'?)"


def test_an_unknown_off_policy_loss_is_refused_too() -> None:
    part = component(loss_names=["clon"])
    fault = only_fault_of(lambda: pipeline(stage(offpolicy_component=part)))
    assert "'clon'" in fault.message
    assert fault.hint.endswith("(did you mean 'clone'?)")


def test_two_stages_of_one_name_are_refused_at_the_second() -> None:
    first, second = stage(name="easy"), stage(name="easy")
    fault = only_fault_of(lambda: pipeline(first, second))
    assert fault.message == "two stages are named 'easy'"


def test_one_stage_may_not_stand_twice_in_a_pipeline() -> None:
    twice = stage(name="a")
    fault = only_fault_of(lambda: pipeline(twice, stage(), twice))
    assert fault.message == "the same PipelineStage object stands twice in pipeline_stages (again as number 3)"


def test_one_stage_may_not_stand_in_two_pipelines() -> None:
    shared = stage()
    first = pipeline(shared)
    fault = only_fault_of(lambda: pipeline(shared))
    assert fault.message == "this PipelineStage object already belongs to another pipeline"
    assert first.faults() == []  # asked again, the owner still finds nothing wrong


def test_a_stage_is_free_again_once_its_pipeline_is_gone() -> None:
    shared = stage()
    pipeline(shared)
    gc.collect()
    second = pipeline(shared)
    assert only_fault_of(lambda: pipeline(shared)).message.endswith("already belongs to another pipeline")
    assert list(second) == [shared]


def test_a_refused_pipeline_does_not_keep_its_stages() -> None:
    shared = stage()
    with pytest.raises(ExperimentError) as caught:
        pipeline(shared, num_steps=0)
    assert len(pipeline(shared)) == 1
    assert caught.value.exit_code == 2


def test_all_faults_are_listed_at_once() -> None:
    with collect_faults() as faults:
        pipeline(stage("ppo_los", max_stage_steps=0), gamma=2, optimizer_builder=3)
    assert [fault.message.split()[0] for fault in faults] == ["max_stage_steps", "gamma", "optimizer_builder", "the"]


def test_a_stage_that_is_nothing_but_faults_breaks_no_check_of_the_pipeline() -> None:
    with collect_faults() as faults:
        bad = stage(loss_names=5, loss_weights="x", offpolicy_component="y", name=3, environment=4)
        pipeline(bad, named_losses=None)
    assert {fault.message.split()[0] for fault in faults} == {
        "loss_names",
        "loss_weights",
        "offpolicy_component",
        "name",
        "environment",
        "named_losses",
    }


# What a pipeline answers


def test_iterating_gives_the_stages_in_order() -> None:
    first, second = stage("imitation"), stage("ppo")
    both = pipeline(first, second)
    assert list(both) == [first, second]
    assert list(both) == [first, second]  # again: an iteration uses nothing up
    assert len(both) == 2


def test_none_in_a_stage_means_as_the_pipeline_says() -> None:
    own = stage(gamma=0.5, num_steps=16)
    whole = pipeline(own, stage())
    assert (whole.settings_of(own).gamma, whole.settings_of(own).num_steps) == (0.5, 16)
    assert (whole.settings_of(own).gae_lambda, whole.settings_of(own).update_repeats) == (0.95, 3)
    assert whole.settings_of(list(whole)[1]).gamma == 0.99


def test_zero_and_false_in_a_stage_are_no_none() -> None:
    own = stage(update_repeats=0, save_interval=0, use_gae=False, gamma=0.0)
    settings = pipeline(own, save_interval=700).settings_of(own)
    assert (settings.update_repeats, settings.save_interval, settings.use_gae, settings.gamma) == (0, 0, False, 0.0)


def test_what_none_in_the_pipeline_means() -> None:
    only = stage()
    settings = pipeline(only, update_repeats=None, max_grad_norm=None).settings_of(only)
    assert (settings.update_repeats, settings.max_grad_norm, settings.grad_norm_type) == (1, None, math.inf)
    assert (settings.save_interval, settings.advance_scene_rollout_period) == (None, None)


def test_each_stage_has_a_name_of_its_own() -> None:
    part = component()
    stages = [stage("imitation"), stage("ppo"), stage("ppo", name="last"), stage("ppo", offpolicy_component=part)]
    assert pipeline(*stages).stage_names() == ["imitation", "ppo", "last", "ppo+clone"]
    assert pipeline(stage(), stage()).stage_names() == ["ppo-1", "ppo-2"]


def test_names_stay_distinct_where_a_given_one_looks_like_a_numbered_one() -> None:
    names = pipeline(stage(), stage(), stage(name="ppo-1"), stage()).stage_names()
    assert names == ["ppo-2", "ppo-3", "ppo-1", "ppo-4"]


def test_declarations_do_not_change() -> None:
    only = stage()
    whole = pipeline(only)
    with pytest.raises(FrozenInstanceError):
        only.gamma = 0.5  # type: ignore[misc]
    with pytest.raises(FrozenInstanceError):
        whole.num_steps = 5  # type: ignore[misc]


def test_stages_added_to_the_list_later_are_not_in_the_pipeline() -> None:
    stages = [stage()]
    whole = pipeline(pipeline_stages=stages)
    stages.append(stage())
    assert len(whole) == 1


def test_the_arguments_may_be_given_by_position_as_on_the_api_page() -> None:
    whole = TrainingPipeline(
        {"ppo": ppo}, [stage()], Builder(dict), 2, None, 0.5, 8, 0.9, False, 1.0, 3, 700, 100, False, Builder(dict)
    )
    assert isinstance(whole, TrainingSettings)
    assert (whole.num_mini_batch, whole.save_interval, whole.metric_accumulate_interval) == (2, 700, 100)
    assert (whole.should_log, whole.lr_scheduler_builder) == (False, Builder(dict))
