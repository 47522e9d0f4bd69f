from __future__ import annotations

import io
from collections.abc import Callable
from typing import Any

import gymnasium
import numpy as np
import pytest
import torch
from gymnasium import spaces
from torch import nn

from tests.toys import CountingEnv, ExpertEnv, IdentityEnv, KnownModel, MeasuringEnv, SceneEnv, resolved
from trainctl.core.distributions import as_action_distribution
from trainctl.core.engine.collecting.acting import initial_memory
from trainctl.core.engine.collecting.collector import RolloutCollector
from trainctl.core.engine.collecting.rollout import Rollout
from trainctl.core.engine.environments.serial import SerialEnvironments
from trainctl.core.errors import ExperimentError
from trainctl.core.metrics import ScalarMeanTracker
from trainctl.core.model import ActorCriticOutput
from trainctl.models import MLPActorCritic

CPU = torch.device("cpu")


class Undecided(nn.Module):
    """A torch distribution with probabilities that depend on the observation, without `policy` or memory."""

    def forward(self, observations: Any, memory: Any, masks: Any) -> ActorCriticOutput:
        logits = torch.cat([0 * observations, 0.1 * (observations % 5), -0.1 * (observations % 3)], dim=-1)
        return ActorCriticOutput(torch.distributions.Categorical(logits=logits), observations[..., 0], None)


def collector_of(
    make: Callable[[], gymnasium.Env[Any, Any]],
    indices: range = range(2),
    model: nn.Module | None = None,
    num_steps: int = 5,
    teacher: Callable[[int], float] | None = None,
    needs_expert: bool = False,
) -> RolloutCollector:
    environments = SerialEnvironments(make, indices, seed=1)
    if model is None:
        torch.manual_seed(0)
        model = MLPActorCritic(environments.observation_space, environments.action_space)
    collector = RolloutCollector(model, environments, indices, seed=1, device=CPU)
    collector.begin_stage(resolved(num_steps=num_steps), teacher, needs_expert or teacher is not None)
    return collector


def forced(rollout: Rollout) -> np.ndarray:
    return rollout.fields["teacher_forced"].numpy()


# Teacher forcing


def test_with_probability_one_every_action_is_the_experts() -> None:
    rollout = collector_of(lambda: ExpertEnv(lambda steps: steps % 3), teacher=lambda steps: 1.0).collect(0, 0, 2)
    assert forced(rollout).all()
    assert rollout.fields["actions"].tolist() == rollout.fields["expert_actions"].tolist()
    assert rollout.fields["actions"][:, 0].tolist() == [0, 1, 2, 0, 1]
    assert rollout.fields["rewards"][:, 0].tolist() == [10, 21, 32, 40, 51]


def test_with_probability_zero_no_action_is_the_experts() -> None:
    plain = collector_of(ExpertEnv, num_steps=50).collect(0, 0, 2)
    rollout = collector_of(ExpertEnv, num_steps=50, teacher=lambda steps: 0.0).collect(0, 0, 2)
    assert not forced(rollout).any()
    assert rollout.fields["has_expert"].all()
    assert rollout.fields["actions"].tolist() == plain.fields["actions"].tolist()


def test_each_environment_draws_for_itself_at_each_step() -> None:
    rollout = collector_of(ExpertEnv, range(8), num_steps=1000, teacher=lambda steps: 0.3).collect(0, 0, 8)
    drawn = forced(rollout)
    assert drawn.mean() == pytest.approx(0.3, abs=0.02)
    np.testing.assert_allclose(drawn.mean(axis=0), 0.3, atol=0.06)
    correlations = np.corrcoef(drawn.T) - np.eye(8)
    assert np.abs(correlations).max() < 0.15
    following = np.corrcoef(drawn[1:].ravel(), drawn[:-1].ravel())[0, 1]
    assert abs(following) < 0.06


def test_where_the_expert_has_no_action_the_agents_stands() -> None:
    def sometimes(steps: int) -> Any:
        return None if steps % 2 else 2

    plain = collector_of(lambda: ExpertEnv(sometimes), num_steps=4).collect(0, 0, 2)
    rollout = collector_of(lambda: ExpertEnv(sometimes), num_steps=4, teacher=lambda steps: 1.0).collect(0, 0, 2)
    assert forced(rollout)[:, 0].tolist() == [True, False, True, False]
    assert rollout.fields["has_expert"][:, 0].tolist() == [True, False, True, False]
    assert rollout.fields["actions"][::2].eq(2).all()
    # the observations and the noise are the same, so the agent's own actions are those it takes without a teacher
    assert rollout.fields["actions"][1::2].tolist() == plain.fields["actions"][1::2].tolist()


def test_the_probability_follows_the_steps_of_the_stage() -> None:
    asked: list[int] = []

    def decaying(steps: int) -> float:
        asked.append(steps)
        return 1.0 if steps < 108 else 0.0

    collector = collector_of(ExpertEnv, num_steps=5, teacher=decaying)
    rollout = collector.collect(0, 100, 4)
    assert asked == [100, 104, 108, 112, 116]
    assert forced(rollout)[:, 0].tolist() == [True, True, False, False, False]
    metrics = ScalarMeanTracker()
    collector.report_to(metrics)
    assert metrics.means() == {
        "episode/return": pytest.approx(150, abs=10),
        "episode/length": 5,
        "teacher_forcing/rate": 0.4,
        "teacher_forcing/expert_available": 1.0,
        "teacher_forcing/probability": 0.4,
    }
    assert metrics.counts()["teacher_forcing/rate"] == 10


def test_log_probabilities_are_those_of_the_actions_that_were_executed() -> None:
    model = Undecided()
    rollout = collector_of(ExpertEnv, model=model, num_steps=20, teacher=lambda steps: 0.5).collect(0, 0, 2)
    assert 0 < forced(rollout).mean() < 1
    output = model(rollout.observations[:-1], None, rollout.masks[:-1])
    expected = output.distribution.log_prob(rollout.fields["actions"])
    torch.testing.assert_close(rollout.fields["log_probs"], expected)


def test_a_stage_without_need_of_an_expert_asks_none() -> None:
    rollout = collector_of(CountingEnv).collect(0, 0, 2)
    assert "expert_actions" not in rollout.fields
    with pytest.raises(ExperimentError, match="has no expert_action"):
        collector_of(CountingEnv, needs_expert=True).collect(0, 0, 2)


# Memory


@pytest.mark.parametrize("memory", [None, "gru", "lstm"])
def test_values_and_log_probabilities_are_those_of_acting_step_by_step(memory: str | None) -> None:
    environment = CountingEnv
    torch.manual_seed(3)
    model = MLPActorCritic(
        spaces.Box(-np.inf, np.inf, (1,), np.float32), spaces.Discrete(3), memory=memory, memory_size=6
    )
    collector = collector_of(lambda: environment([(3, "truncated"), (4, "terminated")]), range(3), model)
    for index in range(2):
        before = collector.memory
        rollout = collector.collect(index, 0, 3)
        assert (rollout.first_memory is None) == (memory is None)
        if before is not None:
            assert rollout.first_memory is not None
            assert torch.equal(rollout.first_memory, before)
        carried = before
        for t in range(5):
            step = (rollout.observations[t : t + 1], carried, rollout.masks[t : t + 1])
            with torch.no_grad():
                distribution, values, carried = model(*step)
            log_probs = as_action_distribution(distribution).log_prob(rollout.fields["actions"][t : t + 1])
            torch.testing.assert_close(rollout.fields["values"][t], values[0])
            torch.testing.assert_close(rollout.fields["log_probs"][t], log_probs[0])
        assert (carried is None) == (memory is None)
        if carried is not None:
            torch.testing.assert_close(collector.memory, carried)


def test_a_model_that_says_nothing_of_memory_has_none() -> None:
    assert initial_memory(Undecided(), 3, CPU) is None


def test_masks_are_zero_where_an_episode_begins() -> None:
    collector = collector_of(lambda: CountingEnv([(2, "truncated"), (9, "terminated")]), range(1), KnownModel())
    assert collector.collect(0, 0, 1).masks[:, 0].tolist() == [0, 1, 0, 1, 1, 1]
    assert collector.collect(1, 0, 1).masks[:, 0].tolist() == [1, 1, 1, 1, 1, 1]


# What is keyed, saved and reported


def test_an_environments_actions_do_not_depend_on_its_neighbours() -> None:
    together = collector_of(IdentityEnv, range(4), num_steps=20)
    alone = collector_of(IdentityEnv, range(2, 3), num_steps=20)
    for index in range(2):
        expected, found = together.collect(index, 0, 4), alone.collect(index, 0, 4)
        assert found.fields["actions"][:, 0].tolist() == expected.fields["actions"][:, 2].tolist()
        assert found.observations[:, 0].tolist() == expected.observations[:, 2].tolist()


def test_each_rollout_has_noise_of_its_own() -> None:
    collector = collector_of(IdentityEnv, range(1), num_steps=50)
    first, again = collector.collect(0, 0, 1).fields["actions"].clone(), collector.collect(1, 0, 1).fields["actions"]
    assert first.tolist() != again.tolist()


@pytest.mark.parametrize("memory", [None, "gru"])
def test_a_collector_that_was_saved_goes_on_with_the_same_bits(memory: str | None) -> None:
    torch.manual_seed(5)
    model = MLPActorCritic(spaces.Discrete(4), spaces.Discrete(4), memory=memory)
    own, again = (collector_of(IdentityEnv, range(3), model, num_steps=11) for _ in range(2))
    own.collect(0, 0, 3)
    file = io.BytesIO()
    torch.save(own.state_dict(), file)
    file.seek(0)
    assert again.load_state_dict(torch.load(file, weights_only=True)) == []
    expected, found = own.collect(1, 0, 3), again.collect(1, 0, 3)
    assert torch.equal(found.observations, expected.observations)
    assert torch.equal(found.masks, expected.masks)
    for name, field in expected.fields.items():
        assert torch.equal(found.fields[name], field), name


def test_an_environment_that_is_not_what_its_seed_says_is_noticed() -> None:
    class Haunted(CountingEnv):
        """Its first observation depends on how often anybody has built it."""

        built = 0

        def __init__(self) -> None:
            super().__init__()
            type(self).built += 1
            self.episode = self.built

    own, again = (collector_of(Haunted, range(1)) for _ in range(2))
    own.collect(0, 0, 1)
    (problem,) = again.load_state_dict(own.state_dict())
    assert "shows another observation" in problem


def test_finished_episodes_are_reported_once() -> None:
    collector = collector_of(lambda: MeasuringEnv([(2, "terminated"), (3, "truncated")]), range(1), KnownModel())
    collector.collect(0, 0, 1)
    metrics = ScalarMeanTracker()
    collector.report_to(metrics)
    collector.report_to(metrics)
    assert metrics.counts() == dict.fromkeys(metrics.means(), 2)
    assert metrics.means() == {
        "episode/return": (10 + 21 + 11 + 22 + 30) / 2,
        "episode/length": 2.5,
        "episode/distance": 10.5,
        "episode/success": 0.5,
    }


def test_new_scenes_begin_new_episodes_everywhere() -> None:
    collector = collector_of(SceneEnv, range(2), KnownModel(), num_steps=3)
    collector.collect(0, 0, 2)
    collector.advance_scenes()
    assert [episode.length for episode in collector.episodes] == [3, 3]
    rollout = collector.collect(1, 0, 2)
    assert rollout.masks[:, 0].tolist() == [0, 1, 1, 1]
    assert rollout.observations[:, 0, 0].tolist() == [10_100, 10_101, 10_102, 10_103]


def test_environments_with_other_spaces_are_refused_and_equal_ones_take_over() -> None:
    collector = collector_of(CountingEnv, model=KnownModel())
    with pytest.raises(ExperimentError, match="their spaces must be equal"):
        collector.change_environments(SerialEnvironments(IdentityEnv, range(2), seed=1))
    collector.collect(0, 0, 2)
    collector.change_environments(SerialEnvironments(SceneEnv, range(2), seed=1))
    rollout = collector.collect(1, 0, 2)
    assert rollout.masks[0].tolist() == [0, 0]
    assert rollout.observations[0, :, 0].tolist() == [0, 0]


def test_the_time_in_the_environments_is_asked_for_once() -> None:
    collector = collector_of(CountingEnv)
    collector.collect(0, 0, 2)
    assert collector.pop_environment_seconds() > 0
    assert collector.pop_environment_seconds() == 0
