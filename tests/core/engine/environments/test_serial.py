from __future__ import annotations

from bdb import BdbQuit
from typing import Any

import numpy as np
import pytest

from tests.toys import CountingEnv, DictEnv, ExpertEnv, MeasuringEnv, SceneEnv
from trainctl.core.engine.environments import Row, allocate, observation_layout
from trainctl.core.engine.environments.build import fastest_deal
from trainctl.core.engine.environments.processes import ProcessEnvironments
from trainctl.core.engine.environments.serial import SerialEnvironments
from trainctl.core.errors import EnvironmentFailure, ExperimentError, UsageError


def group(*envs: Any) -> SerialEnvironments:
    made = iter(envs)
    return SerialEnvironments(lambda: next(made), range(10, 10 + len(envs)), seed=1)


def rows(environments: Any) -> Any:
    return allocate(observation_layout(environments.observation_space), environments.num_envs)


def step(environments: Any, actions: list[int], observations: Any) -> tuple[Row, list[Any]]:
    n = environments.num_envs
    row = Row(np.zeros(n, np.float32), np.zeros(n, bool), np.zeros(n, bool), np.ones(n, bool), observations)
    return row, environments.step(np.array(actions), row)


def test_an_episode_that_ended_is_followed_by_the_next_ones_first_observation() -> None:
    environments = group(
        CountingEnv([(2, "terminated")]), CountingEnv([(2, "truncated")]), CountingEnv([(2, "both")]), CountingEnv()
    )
    observations = rows(environments)
    environments.reset(observations)
    step(environments, [0, 0, 0, 0], observations)
    row, ends = step(environments, [0, 1, 2, 0], observations)
    assert row.rewards.tolist() == [20, 21, 22, 20]
    assert row.terminated.tolist() == [True, False, True, False]
    assert row.truncated.tolist() == [False, True, False, False]
    assert row.valid.all()
    assert observations[:, 0].tolist() == [100, 100, 100, 2]
    assert [end.environment for end in ends] == [0, 1, 2]
    assert [end.episode.episode_return for end in ends] == [30, 31, 32]
    assert [None if end.final_observation is None else end.final_observation.tolist() for end in ends] == [
        None,
        [2],
        None,
    ]


def test_the_final_observation_belongs_to_whoever_gets_it() -> None:
    class Reusing(CountingEnv):
        """Shows the same array again and again."""

        shown = np.zeros(1, np.float32)

        def observation(self) -> Any:
            self.shown[:] = super().observation()
            return self.shown

    environments = group(Reusing([(1, "truncated")]))
    observations = rows(environments)
    environments.reset(observations)
    _, (end,) = step(environments, [0], observations)
    assert end.final_observation is not None
    assert end.final_observation.tolist() == [1]


def test_dictionaries_are_written_part_by_part() -> None:
    environments = group(DictEnv([(3, "truncated")]), DictEnv())
    observations = rows(environments)
    environments.reset(observations)
    step(environments, [0, 0], observations)
    assert observations["count"][:, 0].tolist() == [1, 1]
    assert observations["inner"]["parity"].tolist() == [1, 1]


def test_metrics_are_those_of_the_episode_that_ended() -> None:
    environments = group(MeasuringEnv([(1, "terminated")]))
    observations = rows(environments)
    environments.reset(observations)
    found = [step(environments, [0], observations)[1][0].episode.metrics for _ in range(2)]
    assert found == [{"distance": 7.0, "success": 1.0}, {"distance": 14.0, "success": 0.0}]


def test_experts_write_their_actions_and_where_they_have_any() -> None:
    environments = group(ExpertEnv(lambda steps: 2), ExpertEnv(lambda steps: None), ExpertEnv(lambda steps: 1))
    environments.reset(rows(environments))
    actions, available = np.full(3, 9), np.array([False, True, False])
    environments.expert_actions(actions, available)
    assert available.tolist() == [True, False, True]
    assert actions[available].tolist() == [2, 1]


def test_a_group_with_one_expert_missing_is_an_error() -> None:
    environments = group(ExpertEnv(), CountingEnv())
    environments.reset(rows(environments))
    with pytest.raises(ExperimentError, match="has no expert_action"):
        environments.expert_actions(np.zeros(2, np.int64), np.zeros(2, bool))


def test_new_scenes_cut_off_the_episodes_that_have_begun() -> None:
    environments = group(SceneEnv([(1, "terminated")]), SceneEnv())
    observations = rows(environments)
    environments.reset(observations)
    step(environments, [0, 1], observations)  # the first episode of the first is over, its second has not begun
    cut_off = environments.advance_scenes(observations)
    assert cut_off == [(11.0, 1, {})]
    assert observations[:, 0].tolist() == [10_200, 10_100]


def test_a_group_that_was_saved_goes_on_from_its_global_indices() -> None:
    own, again = (group(CountingEnv([(3, "terminated")]), CountingEnv()) for _ in range(2))
    observations, restored = rows(own), rows(own)
    own.reset(observations)
    for _ in range(4):
        step(own, [0, 1], observations)
    assert set(own.state_dict()) == {"10", "11"}
    again.load_state_dict(own.state_dict(), restored)
    # the replay begins with the first episode of a fresh environment, so these two count episodes differently
    assert (restored % 100).tolist() == (observations % 100).tolist() == [[1], [4]]
    ends = [step(each, [0, 1], shown)[1] for each, shown in ((own, observations), (again, restored)) for _ in range(2)]
    assert ends[1] == ends[3] != []


class Stuck(CountingEnv):
    """Cannot be reset at the calls with these numbers, counted over all that were built in one test."""

    resets = 0

    def __init__(self, fails: range) -> None:
        super().__init__([(1, "truncated")])
        self.fails = fails

    def reset(self, **options: Any) -> Any:
        Stuck.resets += 1
        if Stuck.resets - 1 in self.fails:
            raise ValueError("the door is stuck")
        return super().reset(**options)


@pytest.fixture
def stuck(monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.setattr(Stuck, "resets", 0)
    return lambda fails: SerialEnvironments(lambda: Stuck(fails), range(7, 8), seed=1)


def test_an_environment_that_fails_as_its_next_episode_begins_is_replaced_and_the_last_episode_counts(
    stuck: Any,
) -> None:
    environments = stuck(range(1, 3))
    observations = rows(environments)
    environments.reset(observations)
    row, (end,) = step(environments, [2], observations)
    assert end.episode.episode_return == 12
    assert end.final_observation.tolist() == [1]
    assert [(failure.environment, failure.episode, len(failure.actions)) for failure in end.failures] == [
        (7, 1, 0),
        (7, 2, 0),
    ]
    assert end.failures[0].what.startswith("ValueError: the door is stuck")
    assert (row.truncated.tolist(), row.valid.tolist(), observations.tolist()) == ([True], [True], [[0]])
    assert environments.environments[0].episode == 3


class Debugged(CountingEnv):
    """Whose author leaves the debugger in the first step."""

    def step(self, action: Any) -> Any:
        raise BdbQuit


def test_who_leaves_the_debugger_is_no_failing_environment() -> None:
    environments = group(Debugged())
    observations = rows(environments)
    environments.reset(observations)
    with pytest.raises(BdbQuit):
        step(environments, [0], observations)
    with pytest.raises(BdbQuit):
        fastest_deal(Debugged, 2)


def test_in_a_child_there_is_nobody_to_answer_a_debugger() -> None:
    environments = ProcessEnvironments(Debugged, range(2), 1, "test", 2)
    observations = rows(environments)
    environments.reset(observations)
    with pytest.raises(UsageError, match=r"breakpoint\(\) hears nobody") as refused:
        step(environments, [0, 0], observations)
    assert "environment_processes=0" in (refused.value.hint or "")
    environments.close()


def test_an_environment_that_never_begins_again_is_given_up(stuck: Any) -> None:
    environments = stuck(range(1, 1000))
    observations = rows(environments)
    environments.reset(observations)
    with pytest.raises(EnvironmentFailure, match="environment 7 has failed 11 times in succession") as failure:
        step(environments, [0], observations)
    assert "episode 11 (seed " in str(failure.value.hint)
