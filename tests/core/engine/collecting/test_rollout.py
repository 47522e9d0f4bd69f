from __future__ import annotations

import statistics
from typing import Any

import numpy as np
import pytest
import torch
from gymnasium import spaces
from hypothesis import given
from hypothesis import strategies as st

from tests.toys import resolved
from trainctl.core.batch import Batch
from trainctl.core.engine.collecting.reward_normalizer import RewardNormalizer
from trainctl.core.engine.collecting.rollout import Rollout
from trainctl.core.engine.workers.workers import SingleWorker

SPACES = (
    spaces.Dict({"a": spaces.Box(-1e6, 1e6, (2,), np.float32), "b": spaces.Discrete(10**6)}),
    spaces.Discrete(10**6),
)
# what is added to a step's number to tell the fields apart
OFFSETS = {"actions": 1e5, "rewards": 2e5, "log_probs": 3e5, "values": 4e5}


def numbered(num_steps: int, num_envs: int, valid: Any = None, memory: bool = False, expert: bool = False) -> Rollout:
    """A rollout in which everything about step t of environment n says 100 * t + n."""
    rollout = Rollout(num_steps, num_envs, SPACES, torch.device("cpu"))
    number = np.arange(num_steps + 1)[:, None] * 100 + np.arange(num_envs)
    first = {"a": np.repeat(number[0][:, None], 2, axis=1).astype(np.float32), "b": number[0]}
    rollout.begin(first, np.zeros(num_envs, np.float32), torch.arange(num_envs)[:, None] + 0.5 if memory else None)
    rollout.host_observations["a"][:] = number[..., None]
    rollout.host_observations["b"][:] = number
    rollout.host_masks[:] = number % 7 > 0
    number = number[:-1]
    rollout.host_actions[:] = number + int(OFFSETS["actions"])
    rollout.host_rewards[:] = number + OFFSETS["rewards"]
    rollout.host_expert_actions[:] = number + 5
    rollout.host_flags["has_expert"][:] = number % 2 == 0
    rollout.host_flags["teacher_forced"][:] = number % 3 == 0
    if valid is not None:
        rollout.host_flags["valid"][:] = valid
    rollout.finish(expert)
    for name in ("log_probs", "values"):
        rollout.fields[name] = torch.from_numpy(number + OFFSETS[name]).float()
    for name in ("advantages", "normalized_advantages", "returns"):
        rollout.fields[name] = -rollout.fields["values"]
    return rollout


def generator() -> np.random.Generator:
    return np.random.default_rng(0)


def numbers_of(batch: Batch) -> torch.Tensor:
    """The numbers of the batch's steps (T, B), after checking that every field is about the same steps."""
    number = batch.observations["b"]
    assert batch.observations["a"].tolist() == torch.stack([number, number], dim=-1).tolist()
    assert batch.actions.tolist() == (number + int(OFFSETS["actions"])).tolist()
    assert batch.masks.tolist() == (number % 7 > 0).float().tolist()
    for name in ("log_probs", "values"):
        assert getattr(batch, name).tolist() == (number + OFFSETS[name]).float().tolist()
    for name in ("advantages", "normalized_advantages", "returns"):
        assert getattr(batch, name).tolist() == (-batch.values).tolist()
    return number


@given(st.integers(1, 9), st.integers(1, 5), st.integers(1, 60), st.data())
def test_each_step_that_is_data_stands_in_exactly_one_minibatch(
    num_steps: int, num_envs: int, wanted: int, data: st.DataObject
) -> None:
    flags = st.lists(st.booleans(), min_size=num_steps * num_envs, max_size=num_steps * num_envs)
    valid = np.array(data.draw(flags.filter(any))).reshape(num_steps, num_envs)
    rollout = numbered(num_steps, num_envs, valid)
    count = rollout.most_minibatches(wanted)
    parts = list(rollout.minibatches(count, [generator()], 0))
    batches = [part.batch() for part in parts]
    assert len(batches) == min(wanted, valid.sum())
    seen = [number for batch in batches for number in numbers_of(batch)[0].tolist()]
    assert sorted(seen) == [100 * t + n for t in range(num_steps) for n in range(num_envs) if valid[t, n]]
    sizes = [part.size for part in parts]
    assert max(sizes) - min(sizes) <= 1


def test_a_rollout_without_any_data_has_no_minibatches() -> None:
    rollout = with_advantages([1.0, 2.0], [False, False])
    RewardNormalizer().normalize(rollout, 0.9, SingleWorker())
    rollout.compute_returns(resolved(), SingleWorker())
    assert rollout.steps == rollout.most_minibatches(4) == 0
    assert list(rollout.minibatches(0, [generator()], 0)) == []


def test_minibatches_of_steps_have_one_time_step_and_neither_memory_nor_mask_of_data() -> None:
    (batch,) = (part.batch() for part in numbered(3, 2).minibatches(1, [generator()], stage_steps=1234))
    assert batch.observations["a"].shape == (1, 6, 2)
    assert (batch.memory, batch.valid, batch.stage_steps) == (None, None, 1234)


@pytest.mark.parametrize(("wanted", "sizes"), [(1, [5]), (2, [3, 2]), (3, [2, 2, 1]), (9, [1, 1, 1, 1, 1])])
def test_a_model_with_memory_gets_whole_sequences(wanted: int, sizes: list[int]) -> None:
    rollout = numbered(4, 5, memory=True)
    batches = [part.batch() for part in rollout.minibatches(rollout.most_minibatches(wanted), [generator()], 0)]
    assert [batch.actions.shape[1] for batch in batches] == sizes
    environments = []
    for batch in batches:
        number = numbers_of(batch)
        assert (number - number[0]).tolist() == [[100 * t] * number.shape[1] for t in range(4)]
        assert batch.memory is not None
        assert batch.memory[:, 0].tolist() == (number[0] + 0.5).tolist()
        assert batch.valid is None
        environments += number[0].tolist()
    assert sorted(environments) == list(range(5))


def test_sequences_keep_the_steps_that_are_no_data_and_mark_them() -> None:
    valid = np.ones((4, 3), bool)
    valid[2, 1] = False
    (part,) = numbered(4, 3, valid, memory=True).minibatches(1, [generator()], 0)
    batch = part.batch()
    assert batch.valid is not None
    assert numbers_of(batch)[~batch.valid].tolist() == [201]
    assert batch.size == part.size == 11


def test_the_expert_is_in_the_batch_only_where_a_stage_asks_for_it() -> None:
    (without,) = (part.batch() for part in numbered(2, 2).minibatches(1, [generator()], 0))
    assert (without.expert_actions, without.has_expert, without.teacher_forced) == (None, None, None)
    (batch,) = (part.batch() for part in numbered(2, 2, expert=True).minibatches(1, [generator()], 0))
    number = numbers_of(batch)
    assert batch.expert_actions is not None
    assert batch.has_expert is not None
    assert batch.teacher_forced is not None
    assert batch.expert_actions.tolist() == (number + 5).tolist()
    assert batch.has_expert.tolist() == (number % 2 == 0).tolist()
    assert batch.teacher_forced.tolist() == (number % 3 == 0).tolist()


def test_the_order_follows_from_the_generator_alone() -> None:
    def order(seed: int) -> list[int]:
        (batch,) = (part.batch() for part in numbered(5, 4).minibatches(1, [np.random.default_rng(seed)], 0))
        return numbers_of(batch)[0].tolist()

    assert order(1) == order(1)
    assert order(1) != order(2)
    assert order(1) != sorted(order(1))


def with_advantages(advantages: list[float], valid: list[bool] | None = None) -> Rollout:
    """A rollout of one environment whose advantages are these: they are the rewards, of episodes of one step."""
    rollout = numbered(len(advantages), 1, None if valid is None else np.array(valid)[:, None])
    rollout.fields["rewards"] = torch.tensor(advantages)[:, None]
    rollout.fields["values"] = torch.zeros(len(advantages), 1)
    rollout.fields["terminated"] = torch.ones(len(advantages), 1, dtype=torch.bool)
    rollout.fields |= {"bootstrap_value": torch.zeros(1), "final_values": torch.zeros(len(advantages), 1)}
    return rollout


def test_normalized_advantages_have_mean_zero_and_deviation_one_over_the_data() -> None:
    rollout = with_advantages([1.0, 2.0, 1e9, 6.0], [True, True, False, True])
    rollout.compute_returns(resolved(), SingleWorker())
    found = rollout.fields["normalized_advantages"][rollout.fields["valid"]].tolist()
    assert found == pytest.approx([(a - 3.0) / statistics.stdev([1.0, 2.0, 6.0]) for a in (1.0, 2.0, 6.0)])


@pytest.mark.parametrize("advantages", [[5.0], [5.0, 5.0, 5.0]], ids=["one", "equal"])
def test_advantages_that_do_not_vary_are_normalized_to_zero(advantages: list[float]) -> None:
    rollout = with_advantages(advantages)
    rollout.compute_returns(resolved(), SingleWorker())
    assert rollout.fields["normalized_advantages"].abs().max() == 0


class TwoWorkers(SingleWorker):
    """The other worker's moments are known beforehand."""

    def __init__(self, others: list[float]) -> None:
        self.others = others

    def sum_tensors(self, tensors: Any) -> None:
        (moments,) = tensors
        moments += torch.tensor([len(self.others), sum(self.others), sum(a * a for a in self.others)])


def test_advantages_are_normalized_over_the_data_of_all_workers() -> None:
    rollout = with_advantages([1.0, 2.0])
    rollout.compute_returns(resolved(), TwoWorkers([4.0, 5.0, 9.0]))
    deviation = statistics.stdev([1.0, 2.0, 4.0, 5.0, 9.0])
    found = rollout.fields["normalized_advantages"].flatten().tolist()
    assert found == pytest.approx([(a - 4.2) / deviation for a in (1.0, 2.0)])


@pytest.mark.parametrize(
    ("values", "expected"), [([1.0, 2.0, 3.0, 4.0], 1.0), ([0.0, 0.0, 0.0, 0.0], 0.0), ([4.0, 3.0, 2.0, 1.0], -3.0)]
)
def test_explained_variance_compares_the_values_with_a_constant(values: list[float], expected: float) -> None:
    rollout = numbered(4, 1)
    rollout.fields["returns"] = torch.tensor([[1.0], [2.0], [3.0], [4.0]])
    rollout.fields["values"] = torch.tensor(values)[:, None]
    assert rollout.explained_variance() == pytest.approx(expected)


def test_valid_observations_are_those_that_actions_were_chosen_on() -> None:
    valid = np.array([[True, False], [True, True]])
    assert numbered(2, 2, valid).valid_observations()["b"].tolist() == [0, 100, 101]


def test_the_size_of_an_observation_counts_all_its_parts() -> None:
    assert numbered(2, 2).observation_bytes() == 2 * 4 + 8


def test_beginning_anew_forgets_the_flags_and_masks_of_the_last_time() -> None:
    rollout = numbered(2, 2, np.zeros((2, 2), bool), expert=True)
    rollout.host_flags["terminated"][:] = True
    first = {"a": np.full((2, 2), 9.0, np.float32), "b": np.array([8, 7])}
    rollout.begin(first, np.array([0, 1], np.float32), None)
    assert rollout.masks.tolist() == [[0, 1], [1, 1], [1, 1]]
    assert rollout.observations["b"][0].tolist() == [8, 7]
    assert rollout.steps == 4
    names = ("terminated", "truncated", "has_expert", "teacher_forced")
    assert not any(rollout.host_flags[name].any() for name in names)
