from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from gymnasium.envs.classic_control.cartpole import CartPoleVectorEnv

from tests.core.engine.environments.test_processes import SCRIPT, what_happens
from tests.toys import CountingEnv, DictEnv, ExpertEnv
from trainctl.core.engine.environments import Row, build_environments
from trainctl.core.engine.environments.build import deal_for
from trainctl.core.engine.environments.serial import SerialEnvironments
from trainctl.core.errors import ExperimentError

INDICES = range(4, 9)


@pytest.mark.parametrize("make", [CountingEnv, DictEnv])
@pytest.mark.parametrize(("processes", "groups"), [(0, 2), (4, 2), (1, 3), (0, 9)])
def test_groups_are_together_what_all_environments_are_in_one(make: Any, processes: int, groups: int) -> None:
    alone = SerialEnvironments(partial(make, SCRIPT), INDICES, 1, "test")
    grouped = build_environments(partial(make, SCRIPT), INDICES, 1, "test", processes, groups=groups)
    parts = [part for _, part in grouped.groups]
    assert len(parts) == min(groups, 5)
    assert [i for part in parts for i in range(part.start, part.stop)] == list(range(5))
    assert what_happens(grouped) == what_happens(alone)


def test_what_was_saved_in_one_group_goes_on_in_two() -> None:
    alone = SerialEnvironments(ExpertEnv, INDICES, 1, "test")
    grouped = build_environments(ExpertEnv, INDICES, 1, "test", processes=2, groups=2)
    observations, restored = np.zeros((5, 1), np.float32), np.zeros((5, 1), np.float32)
    alone.reset(observations)
    assert grouped.has_expert
    assert grouped.load_state_dict(alone.state_dict(), restored) == []
    assert restored.tolist() == observations.tolist()
    advice: list[Any] = []
    for environments in (alone, grouped):
        actions, available = np.zeros(5, np.int64), np.zeros(5, bool)
        environments.expert_actions(actions, available)
        advice.append((actions.tolist(), available.tolist()))
        environments.close()
    assert advice[0] == advice[1]


class Waiting(CountingEnv):
    """Whose steps end when somebody has made the file."""

    def __init__(self, file: Path) -> None:
        super().__init__()
        self.file = file

    def step(self, action: Any) -> Any:
        while not self.file.exists():
            pass
        return super().step(action)


def test_one_group_takes_its_step_while_something_else_is_done(tmp_path: Path) -> None:
    file = tmp_path / "acted"
    environments = build_environments(partial(Waiting, file), range(2), 1, "test", processes=2, groups=2)
    (first, _), (second, _) = environments.groups
    observations = np.zeros((2, 1), np.float32)
    environments.reset(observations)
    first.begin_step(np.zeros(1, np.int64))
    file.touch()  # nothing that waits for the first group's step would come this far
    second.begin_step(np.zeros(1, np.int64))
    row = Row(np.zeros(2, np.float32), np.zeros(2, bool), np.zeros(2, bool), np.ones(2, bool), observations)
    assert environments.end_step(row) == []
    assert observations.tolist() == [[1], [1]]
    environments.close()


def test_this_process_acts_for_groups_and_leaves_all_steps_to_children() -> None:
    assert deal_for(0.001, processes=4, groups=2) == (8, False)
    assert deal_for(0.0001, processes=4, groups=2) == (0, True)
    environments = build_environments(CountingEnv, range(6), 1, "test", processes=4, groups=2)
    assert environments.where == "in 2 groups, each in 2 child processes"
    environments.close()


def test_a_vector_environment_is_one_group() -> None:
    with pytest.raises(ExperimentError, match=r"environment_groups=2, but .* gives one vector environment") as error:
        build_environments(lambda num_envs: CartPoleVectorEnv(num_envs), range(2), 1, "test", groups=2)
    assert "leave environment_groups out" in str(error.value)
