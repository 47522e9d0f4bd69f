from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any

import gymnasium
import pytest
from gymnasium.envs.classic_control.cartpole import CartPoleVectorEnv

from tests.toys import CountingEnv
from trainctl.core.builder import Builder
from trainctl.core.engine import device
from trainctl.core.engine.environments import build_environments
from trainctl.core.engine.environments.build import deal_for, fastest_deal
from trainctl.core.engine.environments.serial import SerialEnvironments
from trainctl.core.engine.environments.vector import VectorEnvironments
from trainctl.core.errors import ExperimentError, UsageError


@pytest.mark.parametrize(
    "source",
    ["CartPole-v1", CountingEnv, Builder(CountingEnv, {"unit": 0.5}), lambda: gymnasium.make("CartPole-v1")],
    ids=["id", "class", "Builder", "function"],
)
def test_what_gives_one_environment_is_called_for_each(source: Any) -> None:
    environments = build_environments(source, range(3, 7), 1, "environment")
    assert isinstance(environments, SerialEnvironments)
    assert [environment.index for environment in environments.environments] == [3, 4, 5, 6]
    assert len({id(environment.env) for environment in environments.environments}) == 4
    environments.close()


@pytest.mark.parametrize(
    "source",
    [CartPoleVectorEnv, Builder(CartPoleVectorEnv), lambda num_envs: gymnasium.make_vec("CartPole-v1", num_envs)],
    ids=["class", "Builder", "function"],
)
def test_what_takes_num_envs_is_called_once_and_gives_them_all(source: Any) -> None:
    environments = build_environments(source, range(2, 5), 1, "environment")
    assert isinstance(environments, VectorEnvironments)
    assert environments.num_envs == 3
    environments.close()


def fails() -> Any:
    raise OSError("no such scene")


def refuses() -> Any:
    raise UsageError("not here")


class OneByOne(CountingEnv):
    def __init__(self, script: Any) -> None:
        super().__init__(script)


@pytest.mark.parametrize(
    ("source", "message"),
    [
        (fails, "cannot be built: OSError: no such scene"),
        (lambda: 5, r"gave 5 \(int\), not a gymnasium.Env"),
        (lambda num_envs: CountingEnv(), "not a gymnasium.vector.VectorEnv, since it takes num_envs"),
        (lambda num_envs: CartPoleVectorEnv(num_envs + 1), "was asked for 2 environments and gave 3"),
        (Builder(OneByOne), "missing a required argument: 'script'"),
    ],
)
def test_what_gives_no_environment_is_an_error_of_the_experiment(source: Any, message: str) -> None:
    with pytest.raises(ExperimentError, match=message):
        build_environments(source, range(2), 1, "environment")


def test_an_error_made_for_the_user_is_passed_on() -> None:
    with pytest.raises(UsageError, match="not here"):
        build_environments(refuses, range(2), 1, "environment")


class FailingEnv(CountingEnv):
    def step(self, action: Any) -> Any:
        raise ValueError("now and then")


def test_an_environment_that_fails_while_it_is_measured_is_for_the_training_to_survive() -> None:
    assert fastest_deal(FailingEnv, 3) == (0, True)


class SlowEnv(CountingEnv):
    def step(self, action: Any) -> Any:
        time.sleep(0.004)
        return super().step(action)


def test_processes_are_for_slow_environments_and_for_the_cores_a_worker_has(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: set(range(4)))
    monkeypatch.setattr(device, "CPU_LIMIT", Path("no limit"))
    assert fastest_deal(CountingEnv, 1) == (0, True)
    assert fastest_deal(SlowEnv, 3) == (3, False)
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "2")
    assert fastest_deal(SlowEnv, 3) == (2, False)
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "4")
    assert fastest_deal(SlowEnv, 3) == (0, True)


@pytest.mark.parametrize(
    ("milliseconds", "dealt"),
    [(0.1, (0, True)), (0.5, (3, True)), (9.0, (3, True)), (11.0, (4, False))],
)
def test_cheap_steps_are_taken_here_and_dear_ones_only_where_a_crash_is_survived(
    milliseconds: float, dealt: tuple[int, bool]
) -> None:
    assert deal_for(milliseconds / 1000, processes=4) == dealt
