from __future__ import annotations

import io
import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
import torch
from gymnasium import spaces

from trainctl.core.engine.collecting.reward_normalizer import RawRewards, RewardNormalizer
from trainctl.core.engine.collecting.rollout import Rollout
from trainctl.core.engine.workers.workers import SingleWorker

GAMMA = 0.9
SPACES = (spaces.Discrete(2), spaces.Discrete(2))


def rollout_of(rewards: Any, begins: Any = None, valid: Any = None) -> Rollout:
    """A rollout (T, N) with these rewards; begins (T, N): where a new episode begins."""
    rewards = np.asarray(rewards, np.float32)
    steps, environments = rewards.shape
    rollout = Rollout(steps, environments, SPACES, torch.device("cpu"))
    rollout.begin(np.zeros(environments, np.int64), np.ones(environments, np.float32), None)
    rollout.host_rewards[:] = rewards
    rollout.host_masks[:-1] = 1.0 if begins is None else 1.0 - np.asarray(begins, np.float32)
    rollout.host_flags["valid"][:] = True if valid is None else valid
    rollout.finish(has_expert=False)
    return rollout


def random_rollouts(seed: int, count: int, environments: int) -> list[tuple[Any, Any, Any]]:
    """(rewards, begins, valid) of consecutive rollouts; a step that is no data has no reward and a beginning after."""
    draw = np.random.default_rng(seed)
    rollouts = []
    for _ in range(count):
        begins = draw.random((7, environments)) < 0.3
        valid = np.ones_like(begins)
        valid[:-1] = ~(begins[1:] & (draw.random((6, environments)) < 0.5))
        rollouts.append((np.where(valid, draw.normal(3, 2, begins.shape), 0.0), begins, valid))
    return rollouts


class Reference:
    """Gymnasium's NormalizeReward written as loops: one environment, one step at a time, float64."""

    def __init__(self, environments: int) -> None:
        self.discounted = [0.0] * environments
        self.seen: list[float] = []

    def normalize(self, rewards: Any, begins: Any, valid: Any) -> list[list[float]]:
        for t in range(len(rewards)):
            for n in range(len(self.discounted)):
                before = 0.0 if begins[t][n] else self.discounted[n]
                self.discounted[n] = GAMMA * before + rewards[t][n]
                if valid[t][n]:
                    self.seen.append(self.discounted[n])
        mean = sum(self.seen) / len(self.seen)
        deviation = math.sqrt(sum((seen - mean) ** 2 for seen in self.seen) / len(self.seen) + 1e-8)
        return [[min(max(reward / deviation, -10.0), 10.0) for reward in row] for row in rewards]


def normalized(own: RawRewards, rollouts: Sequence[tuple[Any, Any, Any]], workers: Any = None) -> list[Any]:
    found = []
    for rewards, begins, valid in rollouts:
        rollout = rollout_of(rewards, begins, valid)
        own.normalize(rollout, GAMMA, workers or SingleWorker())
        found.append(rollout.fields["rewards"].clone())
    return found


@pytest.mark.parametrize("seed", range(5))
def test_rewards_are_divided_by_the_deviation_of_the_discounted_returns(seed: int) -> None:
    rollouts = random_rollouts(seed, 4, 3)
    reference = Reference(3)
    for found, rollout in zip(normalized(RewardNormalizer(), rollouts), rollouts, strict=True):
        np.testing.assert_allclose(found, reference.normalize(*rollout), rtol=1e-5, atol=1e-6)


def test_an_episode_that_was_cut_off_between_rollouts_does_not_go_on_in_the_next_one() -> None:
    own = RewardNormalizer()
    first, second = rollout_of([[100.0]]), rollout_of([[1.0]], begins=[[True]])
    own.normalize(first, GAMMA, SingleWorker())
    own.normalize(second, GAMMA, SingleWorker())
    assert own.discounted.tolist() == [1.0]


def test_rewards_that_do_not_vary_are_clipped_and_not_divided_by_zero() -> None:
    rollout = rollout_of([[5.0]])
    RewardNormalizer().normalize(rollout, GAMMA, SingleWorker())
    assert rollout.fields["rewards"].tolist() == [[10.0]]


class Half(SingleWorker):
    """One of two workers: what it sums is noted and, the second time, added."""

    def __init__(self, others: list[torch.Tensor] | None = None) -> None:
        self.noted: list[torch.Tensor] = []
        self.others = others

    def sum_tensors(self, tensors: Any) -> None:
        (moments,) = tensors
        self.noted.append(moments.clone())
        if self.others is not None:
            moments += self.others[len(self.noted) - 1]


def test_two_workers_scale_as_one_with_all_environments_does() -> None:
    rollouts = random_rollouts(0, 3, 4)
    halves = [[tuple(part[:, own] for part in each) for each in rollouts] for own in (slice(0, 2), slice(2, 4))]
    listening = [Half(), Half()]
    for half, worker in zip(halves, listening, strict=True):
        normalized(RewardNormalizer(), half, worker)  # type: ignore[arg-type]
    together = [
        normalized(RewardNormalizer(), half, Half(listening[1 - rank].noted))  # type: ignore[arg-type]
        for rank, half in enumerate(halves)
    ]
    for whole, left, right in zip(normalized(RewardNormalizer(), rollouts), *together, strict=True):
        torch.testing.assert_close(torch.cat([left, right], dim=1), whole)


def test_a_normalizer_that_was_saved_goes_on_with_the_same_bits_and_leaves_its_state_alone() -> None:
    rollouts = random_rollouts(1, 4, 3)
    own = RewardNormalizer()
    normalized(own, rollouts[:2])
    file = io.BytesIO()
    torch.save(own.state_dict(), file)
    file.seek(0)
    state = torch.load(file, weights_only=True)
    first, second = RewardNormalizer(), RewardNormalizer()
    expected = normalized(own, rollouts[2:])
    for again in (first, second):
        again.load_state_dict(state)
        for found, rewards in zip(normalized(again, rollouts[2:]), expected, strict=True):
            assert torch.equal(found, rewards)


def test_raw_rewards_stay_as_the_environment_gave_them() -> None:
    rollout = rollout_of([[5.0, -3.0]])
    RawRewards().normalize(rollout, GAMMA, SingleWorker())
    assert rollout.fields["rewards"].tolist() == [[5.0, -3.0]]
    assert RawRewards().state_dict() == {}
