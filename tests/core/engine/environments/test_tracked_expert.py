from __future__ import annotations

from typing import Any

import pytest

from tests.toys import CountingEnv
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
