from __future__ import annotations

from typing import Any

import pytest
import torch

from trainctl.core.engine.saving.changes import (
    Change,
    changes,
    parts_begun_anew,
    refuse_changes,
    shape_changes,
    stage_changes,
)
from trainctl.core.errors import ExperimentChangedError


def stage(name: str = "ppo", **fields: Any) -> dict[str, Any]:
    settings = {"num_steps": 128, "save_interval": 100}
    return {"name": name, "max_stage_steps": 1000, "settings": settings, "own_settings": [], **fields}


def description(**fields: Any) -> dict[str, Any]:
    optimizer = {"build": "torch.optim.Adam", "arguments": {"lr": 1e-3}}
    return {"environment": "CartPole-v1", "optimizer": optimizer, "stages": [stage()], "should_log": True, **fields}


def test_a_description_that_is_the_same_has_no_changes() -> None:
    assert list(changes(description(), description())) == []


@pytest.mark.parametrize(
    ("now", "key", "before", "kind"),
    [
        (description(environment="Pendulum-v1"), "environment", "CartPole-v1", "changes training"),
        (description(should_log=False), "should_log", True, "harmless"),
        (description(stages=[stage(max_stage_steps=5)]), "stages[0].max_stage_steps", 1000, "changes training"),
        (description(stages=[stage(own_settings=["gamma"])]), "stages[0].own_settings", [], "harmless"),
        (
            description(stages=[stage(settings={"num_steps": 128, "save_interval": 7})]),
            "stages[0].settings.save_interval",
            100,
            "harmless",
        ),
        (description(more=3), "more", None, "changes training"),
        (description(optimizer={"build": "torch.optim.Adam"}), "optimizer.arguments", {"lr": 1e-3}, "changes training"),
    ],
)
def test_a_change_is_named_by_its_key_and_weighed(now: Any, key: str, before: Any, kind: str) -> None:
    (change,) = changes(description(), now)
    assert (change.key, change.before, change.kind) == (key, before, kind)


def test_lists_of_other_lengths_are_one_change() -> None:
    (change,) = changes(description(), description(stages=[stage(), stage("more")]))
    assert change.key == "stages"


def test_a_change_concerns_what_it_is_in() -> None:
    change = Change("stages[1].environment.arguments", 1, 2)
    assert change.concerns("stages[1].environment")
    assert change.concerns("optimizer", "stages")
    assert not change.concerns("stages[1].env", "environment", "stages[1].environment.arguments.x")


@pytest.mark.parametrize(
    ("key", "parts"),
    [
        ("environment", ["collector", "rewards"]),
        ("num_envs", ["collector", "rewards"]),
        ("normalize_rewards", ["rewards"]),
        ("stages[1].environment.build", ["collector", "rewards"]),
        ("stages[0].environment", []),
        ("stages[1].early_stopping_criterion.arguments.threshold", ["early_stopping"]),
        ("stages[1].offpolicy_component.updates", ["off_policy"]),
        ("environment_processes", []),
        ("optimizer.arguments.lr", []),
    ],
)
def test_what_a_change_makes_useless_begins_anew(key: str, parts: list[str]) -> None:
    assert parts_begun_anew([Change(key, 1, 2)], stage_index=1) == parts


def test_harmless_changes_are_not_refused() -> None:
    refuse_changes([Change("should_log", True, False)], "ways on")


def test_a_table_says_what_differs_and_what_can_be_done() -> None:
    found = [Change("optimizer.arguments.lr", 3e-4, 1e-4), Change("should_log", True, False)]
    with pytest.raises(ExperimentChangedError) as refusal:
        refuse_changes(found, "ways on")
    assert str(refusal.value).splitlines() == [
        "the experiment has changed since this run began",
        "  key                     checkpoint  now",
        "  optimizer.arguments.lr  0.0003      0.0001  changes training",
        "  should_log              True        False   harmless",
        "  ways on",
    ]
    refuse_changes(found, "ways on", allowed=True)


def test_shapes_that_differ_are_impossible_whatever_is_allowed() -> None:
    before = {"weight": torch.zeros(2, 3), "bias": torch.zeros(2), "same": torch.zeros(1)}
    now = {"weight": torch.zeros(2, 4), "same": torch.ones(1), "scale": torch.zeros(())}
    found = list(shape_changes(before, now))
    assert [(change.key, change.before, change.now) for change in found] == [
        ("the model's weight", (2, 3), (2, 4)),
        ("the model's bias", (2,), None),
        ("the model's scale", None, ()),
    ]
    with pytest.raises(ExperimentChangedError, match="impossible"):
        refuse_changes(found, "", allowed=True)


@pytest.mark.parametrize(
    ("names", "impossible"),
    [(["a", "b"], []), (["a", "b", "c"], []), (["b", "a"], ["stages[1].name"]), (["a"], ["stages[1].name"])],
)
def test_the_stage_that_a_checkpoint_is_in_must_be_where_it_was(names: list[str], impossible: list[str]) -> None:
    before, now = (description(stages=[stage(name) for name in each]) for each in (["a", "b"], names))
    assert [change.key for change in stage_changes(before, now, stage_index=1)] == impossible
