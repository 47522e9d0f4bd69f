from __future__ import annotations

from typing import Any

import gymnasium
import numpy as np
import pytest
from gymnasium import spaces

from tests.toys import CountingEnv
from trainctl import ExperimentError
from trainctl.wrappers import MINIGRID_WORDS, BabyAIExpert, SuccessMetric, TokenizedMission

minigrid = pytest.importorskip("minigrid")


class MissionEnv(CountingEnv):
    """Its mission is the text it is given."""

    def __init__(self, mission: str) -> None:
        super().__init__()
        self.mission = mission
        self.observation_space = spaces.Dict(
            {"count": spaces.Box(-np.inf, np.inf, (1,), np.float32), "mission": spaces.Text(200)}
        )

    def observation(self) -> Any:
        return {"count": super().observation(), "mission": self.mission}


class PaidEnv(CountingEnv):
    """Episodes of two steps that pay 1 in all where the first action was 1, and nothing otherwise."""

    def __init__(self) -> None:
        super().__init__([(2, "terminated")])

    def step(self, action: Any) -> Any:
        observation, _, *rest = super().step(action)
        return observation, float(action == 1 and self.steps == 1), *rest

    def info(self, over: bool) -> dict[str, Any]:
        return {"episode_metrics": {"distance": 3.0}} if over else {}


def level(name: str) -> BabyAIExpert:
    return BabyAIExpert(gymnasium.make(f"BabyAI-{name}-v0", disable_env_checker=True))


def played(env: gymnasium.Env[Any, Any], seed: int) -> tuple[float, list[int | None]]:
    """The return of the expert's own episode, and its actions."""
    env.reset(seed=seed)
    actions = []
    while True:
        actions.append(env.get_wrapper_attr("expert_action")())
        _, reward, terminated, truncated, _ = env.step(actions[-1])
        if terminated or truncated:
            return float(reward), actions


# Missions


def test_words_become_their_place_in_the_vocabulary_and_the_rest_stays() -> None:
    env = TokenizedMission(MissionEnv("Go to the RED ball!"), words=["red", "ball", "go", "the"], length=6)
    observation, _ = env.reset()
    assert observation["mission"].tolist() == [4, 1, 5, 2, 3, 0]
    assert observation["count"] == 0
    assert env.observation_space.contains(observation)
    assert env.observation_space["mission"].high.max() == 5


def test_another_mission_is_other_numbers() -> None:
    inner = MissionEnv("red ball")
    env = TokenizedMission(inner, words=["red", "ball"], length=2)
    first = env.reset()[0]["mission"]
    inner.mission = "ball"
    assert (first.tolist(), env.reset()[0]["mission"].tolist()) == ([2, 3], [3, 0])


def test_a_mission_that_is_too_long_is_refused_with_the_length_it_needs() -> None:
    with pytest.raises(ExperimentError, match=r"has 5 words; TokenizedMission was given length=4[\s\S]*length=5"):
        TokenizedMission(MissionEnv("go to the red ball"), length=4).reset()


def test_an_environment_without_missions_is_refused() -> None:
    with pytest.raises(ExperimentError, match='no text under "mission" in the observation space Box'):
        TokenizedMission(CountingEnv())


@pytest.mark.parametrize("name", ["BabyAI-BossLevel-v0", "BabyAI-GoToLocal-v0", "MiniGrid-DoorKey-5x5-v0"])
def test_the_vocabulary_knows_every_word_of_minigrid(name: str) -> None:
    env = TokenizedMission(gymnasium.make(name, disable_env_checker=True))
    for seed in range(10):
        observation, _ = env.reset(seed=seed)
        assert env.observation_space.contains(observation)
        assert 1 not in observation["mission"]


def test_no_word_stands_twice_in_the_vocabulary() -> None:
    assert len(MINIGRID_WORDS) == len(set(MINIGRID_WORDS))


# Success


@pytest.mark.parametrize(("action", "success"), [(1, 1.0), (0, 0.0)])
def test_an_episode_that_was_rewarded_is_a_success(action: int, success: float) -> None:
    env = SuccessMetric(PaidEnv())
    for _ in range(2):  # the second episode does not remember the first one's reward
        env.reset()
        assert "episode_metrics" not in env.step(action)[4]
        assert env.step(0)[4]["episode_metrics"] == {"distance": 3.0, "success": success}


# The bot


@pytest.mark.parametrize("name", ["GoToObj", "GoToLocal", "PickupLoc"])
def test_the_bot_solves_the_level(name: str) -> None:
    env = level(name)
    assert all(played(env, seed)[0] > 0 for seed in range(5))


def test_the_bot_hears_of_actions_that_are_not_its_own() -> None:
    env = level("GoToObj")
    env.reset(seed=0)
    for _ in range(2):
        env.expert_action()
        env.step(0)  # turns left whatever it says
    advised = env.expert_action()
    afresh = level("GoToObj")
    afresh.reset(seed=0)
    for _ in range(2):
        afresh.step(0)
    assert advised == afresh.expert_action()
    assert env.expert_action() == advised  # asked again about the same step


def test_a_bot_that_was_not_asked_at_every_step_thinks_anew_and_still_solves_the_level() -> None:
    env = level("GoToLocal")
    env.reset(seed=3)
    env.expert_action()
    for _ in range(3):
        env.step(2)
    reward, steps = 0.0, 0
    while not reward and steps < 40:
        reward, steps = float(env.step(env.expert_action())[1]), steps + 1
    assert reward > 0


def test_a_bot_that_gives_up_has_no_action_until_the_next_episode(monkeypatch: pytest.MonkeyPatch) -> None:
    env = level("GoToObj")
    env.reset(seed=0)
    assert env.expert_action() is not None

    def fail(self: Any, taken: Any = None) -> int:
        raise AssertionError("no path")

    with monkeypatch.context() as patch:
        patch.setattr("minigrid.utils.baby_ai_bot.BabyAIBot.replan", fail)
        env.step(0)
        assert env.expert_action() is None
    env.step(0)
    assert env.expert_action() is None
    env.reset(seed=0)
    assert env.expert_action() is not None


def test_a_level_the_bot_cannot_play_is_no_crash() -> None:
    env = level("KeyInBox")
    env.reset(seed=0)
    actions = []
    for _ in range(20):
        actions.append(env.expert_action())
        env.step(0 if actions[-1] is None else actions[-1])
    assert None in actions


def test_a_bot_that_thinks_in_circles_gives_up() -> None:
    env = level("GoToObj")
    env.reset(seed=0)
    env.expert_action()
    bot = env.get_wrapper_attr("_bot")

    def replan_before_action() -> None:
        bot.stack.append(bot.stack[-1])

    bot.stack[-1].replan_before_action = replan_before_action
    env.step(0)
    assert env.expert_action() is None


def test_rooms_that_babyai_rejects_are_no_news(capsys: pytest.CaptureFixture[str]) -> None:
    env = level("GoToLocal")
    for seed in range(40):
        env.reset(seed=seed)
    assert not capsys.readouterr().out
    for seed in range(40):
        env.env.reset(seed=seed)
    assert "Sampling rejected" in capsys.readouterr().out


def test_the_bot_refuses_what_is_no_babyai_level() -> None:
    with pytest.raises(ExperimentError, match="BabyAIExpert plays the levels of BabyAI"):
        BabyAIExpert(gymnasium.make("MiniGrid-DoorKey-5x5-v0", disable_env_checker=True))
