from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import gymnasium
import numpy as np
import pytest
import torch
from gymnasium.envs.classic_control.cartpole import CartPoleVectorEnv
from gymnasium.vector import AsyncVectorEnv, AutoresetMode, SyncVectorEnv

from tests.toys import CountingEnv, DictEnv, ExpertEnv, IdentityEnv, MeasuringEnv, SceneEnv
from trainctl.core.engine.environments import Row, allocate, observation_layout
from trainctl.core.engine.environments.vector import VectorEnvironments
from trainctl.core.engine.workers.redeal import redealt
from trainctl.core.errors import ExperimentError

MODES = list(AutoresetMode)
every_mode = pytest.mark.parametrize("mode", MODES, ids=[mode.name for mode in MODES])


def group(mode: AutoresetMode, *envs: gymnasium.Env[Any, Any], seed: int = 1) -> VectorEnvironments:
    functions = [lambda env=env: env for env in envs]
    return VectorEnvironments(SyncVectorEnv(functions, autoreset_mode=mode), first_index=10, seed=seed)


def rows(environments: Any) -> Any:
    return allocate(observation_layout(environments.observation_space), environments.num_envs)


def step(environments: Any, actions: Sequence[int], observations: Any) -> tuple[Row, list[Any]]:
    n = environments.num_envs
    row = Row(np.zeros(n, np.float32), np.zeros(n, bool), np.zeros(n, bool), np.ones(n, bool), observations)
    return row, environments.step(np.array(actions), row)


@every_mode
def test_an_episode_that_ended_has_its_record_and_its_final_observation_if_it_was_truncated(
    mode: AutoresetMode,
) -> None:
    environments = group(
        mode, CountingEnv([(2, "terminated")]), CountingEnv([(2, "truncated")]), CountingEnv([(2, "both")])
    )
    observations = rows(environments)
    environments.reset(observations)
    step(environments, [0, 0, 0], observations)
    row, ends = step(environments, [0, 1, 2], observations)
    assert row.rewards.tolist() == [20, 21, 22]
    assert row.terminated.tolist() == [True, False, True]
    assert row.truncated.tolist() == [False, True, False]
    assert row.valid.all()
    assert [end.episode for end in ends] == [(30, 2, {}), (31, 2, {}), (32, 2, {})]
    assert [end.final_observation is None for end in ends] == [True, False, True]
    assert ends[1].final_observation.tolist() == [2]
    assert observations[:, 0].tolist() == ([2, 2, 2] if mode == AutoresetMode.NEXT_STEP else [100, 100, 100])


def test_next_step_inserts_a_step_that_is_no_data_and_belongs_to_no_episode() -> None:
    environments = group(AutoresetMode.NEXT_STEP, CountingEnv([(1, "truncated")]), CountingEnv())
    observations = rows(environments)
    environments.reset(observations)
    found = []
    for _ in range(4):
        row, ends = step(environments, [2, 2], observations)
        found.append((row.valid.tolist(), row.rewards.tolist(), [end.episode for end in ends]))
    assert found == [
        ([True, True], [12, 12], [(12, 1, {})]),
        ([False, True], [0, 22], []),
        ([True, True], [12, 32], [(12, 1, {})]),
        ([False, True], [0, 42], []),
    ]


@every_mode
def test_metrics_are_those_of_the_episode_that_ended(mode: AutoresetMode) -> None:
    environments = group(mode, MeasuringEnv([(2, "truncated")]), MeasuringEnv([(3, "terminated")]))
    observations = rows(environments)
    environments.reset(observations)
    episodes = [
        (end.environment, end.episode.metrics)
        for _ in range(5)
        for end in step(environments, [0, 0], observations)[1]
        if end.episode is not None
    ]
    assert episodes[:2] == [(0, {"distance": 7.0, "success": 1.0}), (1, {"distance": 7.0, "success": 1.0})]
    assert episodes[2] == (0, {"distance": 14.0, "success": 0.0})


@every_mode
def test_dictionaries_go_part_by_part(mode: AutoresetMode) -> None:
    environments = group(mode, DictEnv([(1, "truncated")]), DictEnv())
    observations = rows(environments)
    environments.reset(observations)
    _, (end,) = step(environments, [0, 0], observations)
    assert end.final_observation is not None
    assert end.final_observation["count"].tolist() == [1]
    assert end.final_observation["inner"]["parity"] == 1
    assert observations["inner"]["parity"][1] == 1


@every_mode
def test_the_final_observation_does_not_change_with_the_next_steps(mode: AutoresetMode) -> None:
    environments = group(mode, CountingEnv([(1, "truncated")]))
    environments.env.copy = False  # type: ignore[attr-defined]  # gymnasium may be told to hand out its own buffer
    observations = rows(environments)
    environments.reset(observations)
    _, (end,) = step(environments, [0], observations)
    for _ in range(3):
        step(environments, [0], observations)
    assert end.final_observation is not None
    assert end.final_observation.tolist() == [1]


def test_the_return_of_an_episode_is_not_rounded_at_each_step() -> None:
    environments = group(AutoresetMode.SAME_STEP, CountingEnv([(3, "terminated")], unit=0.1))
    observations = rows(environments)
    environments.reset(observations)
    ends = [step(environments, [1], observations)[1] for _ in range(3)][-1]
    assert ends[0].episode is not None
    assert ends[0].episode.episode_return == 0.1 * 11 + 0.1 * 21 + 0.1 * 31


@every_mode
def test_the_first_reset_seeds_and_each_later_one_seeds_otherwise(mode: AutoresetMode) -> None:
    def seeds(seed: int) -> list[int | None]:
        env = IdentityEnv()
        found: list[int | None] = []
        environments = group(mode, env, seed=seed)
        for _ in range(2):
            environments.reset(rows(environments))
            found.append(env.np_random_seed)
        return found

    assert seeds(1) == seeds(1)
    assert len({*seeds(1), *seeds(2)}) == 4


def test_a_native_vector_environment_passes_straight_through() -> None:
    def returns(seed: int) -> list[Any]:
        environments = VectorEnvironments(CartPoleVectorEnv(num_envs=3), first_index=0, seed=seed)
        assert environments.mode == AutoresetMode.NEXT_STEP
        observations = rows(environments)
        environments.reset(observations)
        return [end.episode for _ in range(60) for end in step(environments, [1, 0, 1], observations)[1]]

    assert len(returns(4)) > 6
    assert returns(4) == returns(4) != returns(5)
    assert all(episode.episode_return == episode.length for episode in returns(4))


def test_simulators_may_speak_in_tensors() -> None:
    class Tensors(gymnasium.vector.VectorEnv):  # type: ignore[type-arg]
        num_envs = 2
        single_observation_space = gymnasium.spaces.Box(-9, 9, (1,), np.float32)
        single_action_space = gymnasium.spaces.Discrete(2)
        metadata = {"autoreset_mode": AutoresetMode.SAME_STEP}  # noqa: RUF012

        def reset(self, *, seed: Any = None, options: Any = None) -> Any:
            return torch.tensor([[1.0], [2.0]]), {}

        def step(self, actions: Any) -> Any:
            last = {"final_obs": torch.tensor([[7.0], [8.0]])}
            flags = torch.tensor([False, True])
            return torch.tensor([[3.0], [4.0]]), torch.tensor([0.5, 1.5]), flags.logical_not(), flags, last

    environments = VectorEnvironments(Tensors(), first_index=0, seed=0)
    observations = rows(environments)
    environments.reset(observations)
    row, ends = step(environments, [0, 0], observations)
    assert row.rewards.tolist() == [0.5, 1.5]
    assert ends[0].final_observation is None
    assert ends[1].final_observation.tolist() == [8.0]


def test_experts_are_asked_through_the_vector_environment() -> None:
    environments = group(AutoresetMode.SAME_STEP, ExpertEnv(lambda steps: 2), ExpertEnv(lambda steps: None))
    environments.reset(rows(environments))
    actions, available = np.full(2, 9), np.array([False, True])
    environments.expert_actions(actions, available)
    assert available.tolist() == [True, False]
    assert actions[0] == 2


@pytest.mark.parametrize("action", [3, 1.5, object()])
def test_an_expert_outside_the_action_space_is_an_error_of_the_experiment(action: Any) -> None:
    environments = group(AutoresetMode.SAME_STEP, ExpertEnv(lambda steps: action))
    environments.reset(rows(environments))
    with pytest.raises(ExperimentError, match="outside the action space"):
        environments.expert_actions(np.zeros(1, np.int64), np.zeros(1, bool))


def test_a_missing_expert_is_an_error_of_the_experiment() -> None:
    environments = group(AutoresetMode.SAME_STEP, CountingEnv())
    with pytest.raises(ExperimentError, match=r"has no expert_action\(\)"):
        environments.expert_actions(np.zeros(1, np.int64), np.zeros(1, bool))


@every_mode
def test_new_scenes_cut_off_the_episodes_that_have_begun(mode: AutoresetMode) -> None:
    environments = group(mode, SceneEnv([(1, "terminated")]), SceneEnv())
    observations = rows(environments)
    environments.reset(observations)
    step(environments, [0, 1], observations)
    assert environments.advance_scenes(observations) == [(11.0, 1, {})]
    assert (observations[:, 0] // 10_000).tolist() == [1, 1]
    row, _ = step(environments, [0, 0], observations)
    assert row.valid.all()


def test_environments_that_know_no_scenes_begin_new_episodes() -> None:
    environments = group(AutoresetMode.SAME_STEP, CountingEnv())
    observations = rows(environments)
    environments.reset(observations)
    environments.advance_scenes(observations)
    assert observations.tolist() == [[100]]


def test_environments_in_processes_of_gymnasiums_are_asked_alike() -> None:
    environments = VectorEnvironments(AsyncVectorEnv([SceneExpert] * 2), first_index=0, seed=1)
    observations, actions, available = rows(environments), np.zeros(2, np.int64), np.zeros(2, bool)
    environments.reset(observations)
    environments.expert_actions(actions, available)
    assert (actions.tolist(), available.tolist()) == ([1, 1], [True, True])
    environments.advance_scenes(observations)
    assert observations.tolist() == [[10_100], [10_100]]
    environments.close()


class SceneExpert(SceneEnv):
    """Knows scenes and what to do."""

    def expert_action(self) -> int:
        return 1


class SavedCounting(SyncVectorEnv):
    """A vector environment with a state of its own."""

    def state_dict(self) -> Any:
        return {"steps": [env.steps for env in self.envs], "episode": [env.episode for env in self.envs]}

    def load_state_dict(self, state: Any) -> Any:
        for env, steps, episode in zip(self.envs, state["steps"], state["episode"], strict=True):
            env.steps, env.episode = steps, episode
        return np.stack([env.observation() for env in self.envs])


def test_a_vector_environment_with_a_state_of_its_own_is_saved_with_it() -> None:
    def saved() -> VectorEnvironments:
        return VectorEnvironments(SavedCounting([CountingEnv] * 2), first_index=0, seed=0)  # type: ignore[list-item]

    own, again = saved(), saved()
    observations, restored = rows(own), rows(again)
    own.reset(observations)
    for _ in range(3):
        step(own, [0, 1], observations)
    assert own.guarantee == "bit-exact"
    assert again.load_state_dict(own.state_dict(), restored) == []
    assert restored.tolist() == observations.tolist()
    for _ in range(2):
        ends = [step(each, [0, 1], shown)[1] for each, shown in ((own, observations), (again, restored))]
    assert ends[0] == ends[1] != []


def test_a_vector_environment_is_dealt_to_other_workers_by_beginning_anew() -> None:
    def of(num_envs: int) -> VectorEnvironments:
        return VectorEnvironments(SavedCounting([CountingEnv] * num_envs), 0, 0)  # type: ignore[list-item]

    two = [of(2), of(2)]
    for own, resets in zip(two, (1, 3), strict=True):
        for _ in range(resets):
            own.reset(rows(own))
    collectors = [
        {"environments": own.state_dict(), "observations": torch.zeros(2), "masks": torch.zeros(2), "memory": None}
        for own in two
    ]
    none: dict[str, Any] = {"off_policy": {}, "failures": {"total": 0}, "metrics": {}, "rewards": {}, "random": {}}
    dealt = redealt([{"collector": own, **none} for own in collectors], range(4), 0)["collector"]["environments"]
    all_four = of(4)
    (problem,) = all_four.load_state_dict(dealt, rows(all_four))
    assert problem.endswith("was of other workers: its episodes begin anew")
    assert all_four.state_dict()["resets"] == 4  # a seed that neither of the two has had


def test_a_vector_environment_without_one_begins_new_episodes_and_says_so() -> None:
    own, again = (group(AutoresetMode.SAME_STEP, CountingEnv(), CountingEnv()) for _ in range(2))
    observations = rows(own)
    own.reset(observations)
    step(own, [0, 0], observations)
    assert own.guarantee == "exact-state"
    (problem,) = again.load_state_dict(own.state_dict(), observations)
    assert "begin anew" in problem
    assert observations[:, 0].tolist() == [0, 0]
