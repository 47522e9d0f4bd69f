from __future__ import annotations

import os
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from gymnasium.vector import AsyncVectorEnv, SyncVectorEnv

from tests.toys import CountingEnv, ExpertEnv
from trainctl.core.engine.environments import Environments, Row, allocate, build_environments, observation_layout
from trainctl.core.engine.environments.tracked import TrackedEnvironment


class ForgetfulEnv(CountingEnv):
    """Its expert says how often it was asked in this episode, so it remembers being asked."""

    def __init__(self) -> None:
        super().__init__([(9, "terminated")])
        self.asked = 0

    def reset(self, **arguments: Any) -> Any:
        self.asked = 0
        return super().reset(**arguments)

    def expert_action(self) -> int:
        self.asked += 1
        return self.asked % 3


@pytest.mark.parametrize("asked_at", [[], [0, 1, 2], [1], [0, 2, 3]])
def test_a_restored_expert_was_asked_at_the_same_steps(asked_at: list[int]) -> None:
    original = TrackedEnvironment(ForgetfulEnv, 0, "environment", 0)
    original.reset()
    for step in range(4):
        if step in asked_at:
            original.expert_action()
        if step < 3:
            original.step(1)

    restored = TrackedEnvironment(ForgetfulEnv, 0, "environment", 0)
    restored.load_state_dict(original.state_dict())
    assert restored.env.get_wrapper_attr("asked") == len(asked_at)
    assert restored.state_dict()["asked"] == asked_at
    assert restored.expert_action() == original.expert_action()


def test_a_new_episode_forgets_what_was_asked() -> None:
    environment = TrackedEnvironment(ForgetfulEnv, 0, "environment", 0)
    environment.reset()
    environment.expert_action()
    environment.reset()
    assert environment.state_dict()["asked"] == []


class FatalEnv(ForgetfulEnv):
    """Ends its process at its second step, once in its life."""

    def __init__(self, died: Path) -> None:
        super().__init__()
        self.died = died

    def step(self, action: Any) -> Any:
        if self.steps == 1 and not self.died.exists():
            self.died.touch()
            os._exit(1)
        return super().step(action)


def ask(environments: Environments) -> list[int]:
    actions, available = np.zeros(environments.num_envs, np.int64), np.zeros(environments.num_envs, bool)
    environments.expert_actions(actions, available)
    assert available.all()
    return actions.tolist()


def step(environments: Environments, asked_ahead: bool) -> None:
    n = environments.num_envs
    observations = allocate(observation_layout(environments.observation_space), n)
    row = Row(np.zeros(n, np.float32), np.zeros(n, bool), np.zeros(n, bool), np.ones(n, bool), observations)
    environments.begin_step(np.zeros(n, np.int64))
    if asked_ahead:
        environments.ask_experts()  # who will think as soon as the step is taken
    environments.end_step(row)


@pytest.mark.parametrize("asked_ahead", [False, True])
def test_the_neighbour_of_a_lost_environment_still_knows_how_often_its_expert_was_asked(
    asked_ahead: bool, tmp_path: Path
) -> None:
    environments = build_environments(partial(FatalEnv, tmp_path / "died"), range(2), 0, "test", processes=1)
    environments.reset(allocate(observation_layout(environments.observation_space), 2))
    assert ask(environments) == [1, 1]
    step(environments, asked_ahead)
    assert ask(environments) == [2, 2]
    step(environments, asked_ahead)  # the first one dies, and the other is replayed in a new process
    assert ask(environments) == [1, 0]  # asked once in its new episode, and three times
    environments.close()


@pytest.mark.parametrize(
    "build",
    [
        lambda make: build_environments(make, range(2), 0, "test"),
        lambda make: build_environments(make, range(2), 0, "test", processes=1),
        lambda make: build_environments(lambda num_envs: SyncVectorEnv([make] * num_envs), range(2), 0, "test"),
        lambda make: build_environments(lambda num_envs: AsyncVectorEnv([make] * num_envs), range(2), 0, "test"),
    ],
)
def test_whether_there_is_an_expert_is_known_before_it_is_asked(build: Any) -> None:
    for make, has_expert in ((ExpertEnv, True), (CountingEnv, False)):
        environments = build(make)
        assert environments.has_expert is has_expert
        environments.close()
