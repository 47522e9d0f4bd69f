"""What stages and pipelines refuse: each argument, each way of being wrong."""

from __future__ import annotations

import math
from typing import Any

import pytest

from tests.core.declarations import component, only_fault_of, pipeline, ppo, stage
from trainctl import Builder, LinearDecay, MultiLinearDecay, NeverEarlyStoppingCriterion, PipelineStage


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
