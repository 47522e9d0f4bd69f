"""Stages and pipelines: what they refuse, where, and what they answer."""

from __future__ import annotations

import gc
import math
from dataclasses import FrozenInstanceError, replace
from typing import Any

import pytest

from trainctl import (
    Builder,
    ExperimentError,
    LinearDecay,
    MultiLinearDecay,
    NeverEarlyStoppingCriterion,
    OffPolicyPipelineComponent,
    PipelineStage,
    TrainingPipeline,
    TrainingSettings,
)
from trainctl.core.errors import Fault, collect_faults


def ppo(batch: Any, output: Any) -> None:
    """Stands for a loss; none is called here."""


def stage(*names: str, **changes: Any) -> PipelineStage:
    return PipelineStage(**({"loss_names": list(names) or ["ppo"], "max_stage_steps": 1000} | changes))


def pipeline(*stages: PipelineStage, **changes: Any) -> TrainingPipeline:
    arguments: dict[str, Any] = {
        "named_losses": {"ppo": ppo, "imitation": ppo, "clone": ppo},
        "pipeline_stages": list(stages) or [stage()],
        "optimizer_builder": Builder(dict),
        "num_mini_batch": 4,
        "update_repeats": 3,
        "max_grad_norm": 0.5,
        "num_steps": 128,
        "gamma": 0.99,
        "use_gae": True,
        "gae_lambda": 0.95,
        "advance_scene_rollout_period": None,
        "save_interval": None,
        "metric_accumulate_interval": 1000,
    }
    return TrainingPipeline(**(arguments | changes))


def component(**changes: Any) -> OffPolicyPipelineComponent:
    return OffPolicyPipelineComponent(
        **({"data_iterator_builder": iter, "loss_names": ["clone"], "updates": 2} | changes)
    )


def faults_of(make: Any) -> tuple[Fault, ...]:
    with pytest.raises(ExperimentError) as caught:
        make()
    return caught.value.faults


def only_fault_of(make: Any) -> Fault:
    (fault,) = faults_of(make)
    return fault


# What a stage refuses


@pytest.mark.parametrize(
    ("argument", "value", "text"),
    [
        ("loss_names", "ppo", "loss_names must be a list of names, not 'ppo'"),
        ("loss_names", None, "loss_names must be a list of names, not None"),
        ("loss_names", [ppo], "loss_names must hold names, not the function ppo"),
        ("loss_names", ["ppo", "a", "ppo"], "loss_names names 'ppo' more than once"),
        ("loss_names", [], "a stage without losses and without an offpolicy_component would learn nothing"),
        ("max_stage_steps", 0, "max_stage_steps must be at least 1, not 0"),
        ("max_stage_steps", -5, "max_stage_steps must be at least 1, not -5"),
        ("max_stage_steps", 1e6, "max_stage_steps must be a whole number, not 1000000.0 (float)"),
        ("max_stage_steps", True, "max_stage_steps must be a whole number, not True (bool)"),
        ("max_stage_steps", None, "max_stage_steps must be a whole number, not None (NoneType)"),
        ("loss_weights", [1, 2], "loss_weights has 2 numbers for 1 losses (ppo)"),
        ("loss_weights", [], "loss_weights has 0 numbers for 1 losses (ppo)"),
        ("loss_weights", 1.0, "loss_weights must be a list of numbers or None, not 1.0"),
        ("loss_weights", [math.inf], "loss_weights must hold finite numbers, not inf"),
        ("loss_weights", ["1"], "loss_weights must hold finite numbers, not '1'"),
        ("teacher_forcing", 0.5, "teacher_forcing must be a function of the stage's steps, not 0.5"),
        (
            "teacher_forcing",
            LinearDecay,
            "teacher_forcing must be a function of the stage's steps, not the class LinearDecay",
        ),
        ("teacher_forcing", LinearDecay(5, 1, -1), "teacher_forcing must stay between 0 and 1, but reaches -1"),
        (
            "teacher_forcing",
            MultiLinearDecay([LinearDecay(5), LinearDecay(5, 1.5, 0)]),
            "teacher_forcing must stay between 0 and 1, but reaches 1.5",
        ),
        ("early_stopping_criterion", 3, "early_stopping_criterion must be an EarlyStoppingCriterion, not 3"),
        (
            "early_stopping_criterion",
            NeverEarlyStoppingCriterion,
            "early_stopping_criterion must be an EarlyStoppingCriterion, not the class NeverEarlyStoppingCriterion",
        ),
        ("offpolicy_component", ["clone"], "offpolicy_component must be an OffPolicyPipelineComponent, not ['clone']"),
        ("name", "", "name must be a text, not ''"),
        ("name", 3, "name must be a text, not 3"),
        ("environment", "", "environment is an empty text"),
        ("environment", 3, "environment must be an id, a Builder or a function, not 3"),
        ("environment", Builder(dict), "environment builds dict, which has no methods reset and step"),
        ("restart_optimizer", 1, "restart_optimizer must be True or False, not 1"),
        ("restart_lr_scheduler", None, "restart_lr_scheduler must be True or False, not None"),
        ("num_steps", 0, "num_steps must be at least 1, not 0"),
    ],
)
def test_a_stage_refuses(argument: str, value: Any, text: str) -> None:
    assert only_fault_of(lambda: stage(**{argument: value})).message == text


@pytest.mark.parametrize(
    "accepted",
    [
        {"max_stage_steps": lambda: 10},
        {"teacher_forcing": lambda steps: 0.5},
        {"teacher_forcing": MultiLinearDecay([LinearDecay(5, 0, 1), LinearDecay(5)])},
        {"early_stopping_criterion": NeverEarlyStoppingCriterion()},
        {"loss_names": (), "offpolicy_component": component()},
        {"loss_weights": (0.5,)},
        {"environment": lambda: 3},  # what it gives shows when it is called
        {"environment": "CartPole-v1"},
        {"num_steps": 1, "save_interval": -1, "max_grad_norm": math.inf},
    ],
)
def test_a_stage_accepts(accepted: dict[str, Any]) -> None:
    made = stage(**accepted)
    assert all(getattr(made, name) == value for name, value in accepted.items())


@pytest.mark.parametrize(
    ("argument", "value", "text"),
    [
        ("data_iterator_builder", [1], "data_iterator_builder must be a function, not [1]"),
        ("loss_names", "clone", "loss_names must be a list of names, not 'clone'"),
        ("loss_names", [], "loss_names is empty"),
        ("loss_names", ["clone", "clone"], "loss_names names 'clone' more than once"),
        ("updates", 0, "updates must be at least 1, not 0"),
        ("updates", 1.5, "updates must be a whole number, not 1.5 (float)"),
        ("loss_weights", [1, 2], "loss_weights has 2 numbers for 1 losses (clone)"),
        ("data_iterator_kwargs_generator", {}, "data_iterator_kwargs_generator must be a function, not {}"),
    ],
)
def test_a_stage_refuses_an_off_policy_part_with(argument: str, value: Any, text: str) -> None:
    fault = only_fault_of(lambda: stage(offpolicy_component=component(**{argument: value})))
    assert fault.message == f"offpolicy_component: {text}"


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


# What a pipeline refuses


@pytest.mark.parametrize(
    ("argument", "value", "text"),
    [
        ("named_losses", {}, "named_losses must be a dictionary of at least one loss, not {}"),
        ("named_losses", ["ppo"], "named_losses must be a dictionary of at least one loss, not ['ppo']"),
        ("named_losses", {"ppo": 3}, "the loss 'ppo' must be a loss or a Builder of one, not 3"),
        ("named_losses", {"ppo": dict}, "the loss 'ppo' must be a loss or a Builder of one, not the class dict"),
        ("named_losses", {"ppo": ppo, 3: ppo}, "named_losses must have names as keys, not 3"),
        ("pipeline_stages", [], "pipeline_stages is empty"),
        ("pipeline_stages", 3, "pipeline_stages must be a list of PipelineStage objects, not 3"),
        ("pipeline_stages", ["ppo"], "pipeline_stages must hold PipelineStage objects, not 'ppo'"),
        (
            "pipeline_stages",
            [PipelineStage],
            "pipeline_stages must hold PipelineStage objects, not the class PipelineStage",
        ),
        ("optimizer_builder", dict, "optimizer_builder must be a Builder, not the class dict"),
        ("optimizer_builder", None, "optimizer_builder must be a Builder, not None"),
        ("lr_scheduler_builder", dict, "lr_scheduler_builder must be a Builder, not the class dict"),
        ("should_log", "no", "should_log must be True or False, not 'no'"),
        ("num_mini_batch", None, "num_mini_batch must be given in the pipeline"),
        ("num_steps", None, "num_steps must be given in the pipeline"),
        ("gamma", None, "gamma must be given in the pipeline"),
        ("use_gae", None, "use_gae must be given in the pipeline"),
        ("gae_lambda", None, "gae_lambda must be given in the pipeline"),
        ("metric_accumulate_interval", None, "metric_accumulate_interval must be given in the pipeline"),
        ("update_repeats", -1, "update_repeats must be at least 0, not -1"),
    ],
)
def test_a_pipeline_refuses(argument: str, value: Any, text: str) -> None:
    assert only_fault_of(lambda: pipeline(**{argument: value})).message == text


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
