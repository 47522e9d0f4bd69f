from __future__ import annotations

import random
from typing import Any, ClassVar

import gymnasium
import numpy as np
import pytest
import torch
from gymnasium.envs.classic_control.cartpole import CartPoleVectorEnv
from gymnasium.vector import AutoresetMode, SyncVectorEnv
from torch import nn

from tests.toys import CountingEnv, IdentityEnv, KnownModel, MeasuringEnv, SummingModel
from trainctl.core.distributions import Categorical
from trainctl.core.engine.environments import Episode
from trainctl.core.engine.playing.evaluation import evaluate, summarize
from trainctl.core.engine.seeding import set_seed, untouched_global_random_state
from trainctl.core.errors import EnvironmentFailure
from trainctl.core.model import ActorCriticOutput
from trainctl.models import MLPActorCritic

CPU = torch.device("cpu")


class Unsure(nn.Module):
    """Prefers the action that equals the observation, but not by much."""

    def forward(self, observations: Any, memory: Any, masks: Any) -> ActorCriticOutput:
        logits = nn.functional.one_hot(observations, 4).float()
        return ActorCriticOutput(Categorical(logits), logits[..., 0], None)


class Unseeded(IdentityEnv):
    """Draws from the global generators, which it should not."""

    def _show(self) -> int:
        self.shown = (random.randrange(2) + int(np.random.randint(2)) + int(torch.randint(2, ()))) % 4
        return self.shown


@pytest.fixture(autouse=True)
def _leave_the_global_generators_alone() -> Any:
    with untouched_global_random_state():
        yield


def global_draws() -> list[float]:
    return [random.random(), np.random.rand(), torch.rand(()).item()]


@pytest.mark.parametrize("make", [IdentityEnv, Unseeded])
@pytest.mark.parametrize("deterministic", [True, False])
def test_the_same_arguments_give_the_same_episodes_and_disturb_nobody(make: Any, deterministic: bool) -> None:
    found = []
    for seed in (1, 2):
        set_seed(seed)
        expected = global_draws()
        set_seed(seed)
        found.append(evaluate(Unsure(), make, 20, 7, CPU, deterministic))
        assert global_draws() == expected
    assert found[0] == found[1]


def test_another_seed_gives_other_episodes() -> None:
    assert evaluate(Unsure(), IdentityEnv, 20, 1, CPU, False) != evaluate(Unsure(), IdentityEnv, 20, 2, CPU, False)


def test_the_most_probable_action_is_taken_or_one_is_drawn() -> None:
    best = evaluate(Unsure(), IdentityEnv, 40, 0, CPU, deterministic=True)
    assert {episode.episode_return for episode in best} == {8.0}
    drawn = evaluate(Unsure(), IdentityEnv, 400, 0, CPU, deterministic=False)
    expected = np.e / (np.e + 3)  # the softmax of (1, 0, 0, 0)
    assert np.mean([episode.episode_return for episode in drawn]) / 8 == pytest.approx(expected, abs=0.03)


@pytest.mark.parametrize("episodes", [1, 5, 16, 17, 50])
def test_exactly_so_many_episodes_are_played(episodes: int) -> None:
    assert len(evaluate(Unsure(), IdentityEnv, episodes, 0, CPU)) == episodes


def test_short_episodes_are_not_favoured() -> None:
    class Uneven(CountingEnv):
        """Every other environment has episodes of 1 step, the others of 9."""

        built = 0

        def __init__(self) -> None:
            super().__init__([(9 if Uneven.built % 2 else 1, "terminated")])
            Uneven.built += 1

    played = evaluate(KnownModel(), Uneven, 32, 0, CPU)
    assert sorted(episode.length for episode in played) == [1] * 16 + [9] * 16


@pytest.mark.parametrize("mode", list(AutoresetMode), ids=lambda mode: mode.name)
def test_a_memory_begins_anew_with_each_episode_in_every_autoreset_mode(mode: AutoresetMode) -> None:
    class Actions(SummingModel):
        """Its action is the number of steps it remembers, counted by observations that are not 0, modulo 3."""

        def forward(self, observations: Any, memory: Any, masks: Any) -> ActorCriticOutput:
            memory = memory * masks[0][:, None] + 1
            logits = 1e6 * nn.functional.one_hot(memory[None, :, 0].long() % 3, 3).float()
            return ActorCriticOutput(Categorical(logits), memory[None, :, 0], memory)

    def vector(num_envs: int) -> SyncVectorEnv:
        make = [lambda: CountingEnv([(4, "truncated")])] * num_envs
        return SyncVectorEnv(make, autoreset_mode=mode)  # type: ignore[arg-type]

    played = evaluate(Actions(), vector, 40, 0, CPU)
    assert {(episode.episode_return, episode.length) for episode in played} == {(11 + 22 + 30 + 41, 4)}


def test_native_vector_environments_are_evaluated_too() -> None:
    torch.manual_seed(0)
    model = MLPActorCritic(
        *(getattr(gymnasium.make("CartPole-v1"), f"{name}_space") for name in ("observation", "action"))
    )
    played = evaluate(model, CartPoleVectorEnv, 30, 0, CPU)
    assert len(played) == 30
    assert all(episode.episode_return == episode.length for episode in played)


class Brittle(CountingEnv):
    """Fails at the steps (of all environments together) that `fails` names; notes who was built and closed."""

    fails: Any = range(0)
    steps_of_all = 0
    open: ClassVar[list[CountingEnv]] = []

    def __init__(self) -> None:
        super().__init__([(4, "terminated")])
        self.open.append(self)

    def step(self, action: Any) -> Any:
        Brittle.steps_of_all += 1
        if Brittle.steps_of_all in self.fails:
            raise OSError("broken")
        return super().step(action)

    def close(self) -> None:
        self.open.remove(self)


def test_environments_that_keep_failing_end_the_evaluation_and_are_closed() -> None:
    Brittle.fails = range(10**9)
    with pytest.raises(EnvironmentFailure, match="broken"):
        evaluate(KnownModel(), Brittle, 3, 0, CPU)
    assert Brittle.open == []


def test_an_episode_in_which_the_environment_failed_is_played_anew() -> None:
    Brittle.fails, Brittle.steps_of_all = (5, 9), 0
    played = evaluate(KnownModel(), Brittle, 6, 0, CPU)
    assert [episode.length for episode in played] == [4] * 6
    assert Brittle.open == []


def test_a_summary_has_the_mean_of_every_metric_over_the_episodes_that_have_it() -> None:
    summary = summarize(evaluate(KnownModel(), lambda: MeasuringEnv([(2, "terminated")]), 64, 0, CPU))
    assert set(summary) == {"return", "length", "distance", "success"}
    assert summary["length"] == (2.0, (2.0, 2.0))
    assert summary["distance"].mean == 10.5
    assert summary["success"].mean == 0.5


def test_a_metric_that_some_episodes_lack_is_the_mean_of_those_that_have_it() -> None:
    episodes = [Episode(1.0, 2, {"coins": 4.0}), Episode(3.0, 2, {}), Episode(5.0, 2, {"coins": 6.0})]
    summary = summarize(episodes)
    assert summary["coins"].mean == 5.0
    assert summary["return"].mean == 3.0


def test_the_confidence_interval_is_that_of_the_mean() -> None:
    returns = np.random.default_rng(0).normal(100, 10, 400)
    summary = summarize([Episode(float(value), 1, {}) for value in returns])["return"]
    low, high = summary.ci95
    assert low < summary.mean < high
    assert high - low == pytest.approx(2 * 1.96 * returns.std() / np.sqrt(400), rel=0.1)
    assert summarize([Episode(float(value), 1, {}) for value in returns])["return"] == summary
