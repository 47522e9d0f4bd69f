from __future__ import annotations

import io
from collections.abc import Callable
from typing import Any

import gymnasium
import numpy as np
import pytest
import torch
from minigrid.wrappers import ImgObsWrapper

from tests.toys import CountingEnv, ExpertEnv, IdentityEnv, MeasuringEnv, OwnStateEnv, SceneEnv
from trainctl.core.engine.environments.tracked import TrackedEnvironment
from trainctl.core.errors import ExperimentError

Make = Callable[[], gymnasium.Env[Any, Any]]


def made(id: str) -> Make:
    def make() -> gymnasium.Env[Any, Any]:
        env = gymnasium.make(id, disable_env_checker=True)
        return ImgObsWrapper(env) if id.startswith("MiniGrid") else env

    return make


IDS = ("CartPole-v1", "Pendulum-v1", "Acrobot-v1", "MiniGrid-DoorKey-5x5-v0")


def through_a_file(state: Any) -> Any:
    file = io.BytesIO()
    torch.save(state, file)
    file.seek(0)
    return torch.load(file, weights_only=True)


def act(env: TrackedEnvironment, actions: list[Any]) -> list[Any]:
    """What the environment shows, pays and says of the end for each action; a new episode begins where one ended."""
    shown = []
    for action in actions:
        observation, reward, terminated, truncated, _ = env.step(action)
        shown.append((np.asarray(observation).tolist(), float(reward), bool(terminated), bool(truncated)))
        if terminated or truncated:
            shown.append((np.asarray(env.reset()).tolist(), 0.0, False, False))
    return shown


@pytest.mark.parametrize("id", IDS)
@pytest.mark.parametrize("taken", [0, 1, 7, 61])
def test_an_environment_that_was_saved_goes_on_identically(id: str, taken: int) -> None:
    own, again = (TrackedEnvironment(made(id), seed=3, purpose="environment", index=5) for _ in range(2))
    own.env.action_space.seed(taken)
    actions = [own.env.action_space.sample() for _ in range(taken + 60)]
    last = np.asarray(own.reset())
    act(own, actions[:taken])
    restored = again.load_state_dict(through_a_file(own.state_dict()))
    if taken == 0:
        np.testing.assert_array_equal(restored, last)
    assert again.state_dict()["return"] == own.state_dict()["return"]
    assert act(again, actions[taken:]) == act(own, actions[taken:])
    assert again.episode_return == own.episode_return
    own.env.close()
    again.env.close()


def test_loading_gives_the_last_observation() -> None:
    own, again = (TrackedEnvironment(CountingEnv, 0, "environment", 0) for _ in range(2))
    own.reset()
    act(own, [0, 1, 2])
    assert again.load_state_dict(own.state_dict()).tolist() == [3]


def test_the_seed_of_an_episode_depends_on_its_key_alone() -> None:
    def seeds(seed: int, purpose: str, index: int, episodes: int) -> list[int | None]:
        env = CountingEnv()
        tracked = TrackedEnvironment(lambda: env, seed, purpose, index)
        for episode in range(episodes):
            tracked.reset()
            act(tracked, [0] * episode)  # whatever happens in between
        return env.seeds[:episodes]

    first = seeds(1, "environment", 0, 4)
    assert first == seeds(1, "environment", 0, 4)
    others = [seeds(2, "environment", 0, 4), seeds(1, "evaluation", 0, 4), seeds(1, "environment", 1, 4)]
    assert len({seed for each in [first, *others] for seed in each}) == 16


def test_an_environment_with_a_state_of_its_own_is_saved_with_it() -> None:
    own, again = (TrackedEnvironment(OwnStateEnv, 0, "environment", 0) for _ in range(2))
    own.reset()
    act(own, [0, 1])
    own.env.hidden = 5000  # type: ignore[attr-defined]
    assert again.load_state_dict(through_a_file(own.state_dict())).tolist() == [5002]
    assert again.env.hidden == 5000  # type: ignore[attr-defined]
    assert again.env.steps == 2  # type: ignore[attr-defined]
    assert act(again, [0] * 3) == act(own, [0] * 3)
    assert again.state_dict()["episode"] == own.state_dict()["episode"] == 1


def test_an_own_state_is_found_through_wrappers() -> None:
    def make() -> gymnasium.Env[Any, Any]:
        return gymnasium.wrappers.TimeLimit(OwnStateEnv(), 100)

    own = TrackedEnvironment(make, 0, "environment", 0)
    own.reset()
    own.env.unwrapped.hidden = 300  # type: ignore[attr-defined]
    assert own.state_dict()["own"] == {"hidden": 300, "steps": 0, "episode": 0}


def test_the_record_of_an_episode_holds_return_length_and_metrics() -> None:
    tracked = TrackedEnvironment(MeasuringEnv, 0, "environment", 0)
    tracked.reset()
    for action in (0, 1, 2, 0):
        tracked.step(action)
    info = tracked.step(0)[4]
    assert tracked.record(info) == (10 + 21 + 32 + 40 + 50, 5, {"distance": 7.0, "success": 1.0})


def test_what_record_episode_statistics_says_goes_before_our_own_sum() -> None:
    def make() -> gymnasium.Env[Any, Any]:
        inner = gymnasium.wrappers.RecordEpisodeStatistics(CountingEnv([(2, "terminated")]))
        return gymnasium.wrappers.TransformReward(inner, lambda reward: reward / 100)

    tracked = TrackedEnvironment(make, 0, "environment", 0)
    tracked.reset()
    tracked.step(0)
    assert tracked.record(tracked.step(0)[4])[:2] == (30.0, 2)


def test_the_expert_is_asked_for_an_action_as_the_policy_would_give_it() -> None:
    def expert(steps: int) -> Any:
        return None if steps == 1 else steps

    tracked = TrackedEnvironment(lambda: ExpertEnv(expert), 0, "environment", 0)
    tracked.reset()
    answers = []
    for _ in range(3):
        answers.append(tracked.expert_action())
        tracked.step(0)
    assert answers == [0, None, 2]


@pytest.mark.parametrize("action", [3, -1, 0.5, "left", [0, 1], object()])
def test_an_expert_outside_the_action_space_is_an_error_of_the_experiment(action: Any) -> None:
    tracked = TrackedEnvironment(lambda: ExpertEnv(lambda steps: action), 0, "environment", 0)
    tracked.reset()
    with pytest.raises(ExperimentError, match="outside the action space"):
        tracked.expert_action()


def test_a_missing_expert_is_an_error_of_the_experiment() -> None:
    tracked = TrackedEnvironment(IdentityEnv, 0, "environment", 0)
    tracked.reset()
    with pytest.raises(ExperimentError, match="has no expert_action"):
        tracked.expert_action()


def test_a_new_scene_is_asked_of_environments_that_know_such_a_thing() -> None:
    for make, scene in ((SceneEnv, 1), (CountingEnv, 0)):
        tracked = TrackedEnvironment(make, 0, "environment", 0)
        tracked.reset()
        tracked.advance_scene()
        assert tracked.reset().tolist() == [10_000 * scene + 100]
        assert tracked.renew().tolist() == [10_000 * scene]  # another environment, in the same scene
