from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from gymnasium import spaces
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.demonstrations import LENGTHS, NAME, datasets, record
from trainctl import ExperimentError
from trainctl.core import demonstrations
from trainctl.core.demonstrations import policy_actions
from trainctl.demonstrations import DemonstrationBatch, MinariSequences, share_of_worker

pytest.importorskip("minari")
__all__ = ["datasets"]  # a fixture

EVERY_STEP = sorted(100 * episode + step for episode, length in enumerate(LENGTHS) for step in range(length))


@pytest.fixture(autouse=True)
def recorded(datasets: Any) -> None:
    record()


def steps_of(batches: list[DemonstrationBatch]) -> list[int]:
    """What the valid steps show."""
    return [int(step) for batch in batches for step in batch["observations"][batch["valid"]][:, 0]]


def same(one: list[DemonstrationBatch], other: list[DemonstrationBatch]) -> bool:
    pairs = zip(one, other, strict=True)
    return all(torch.equal(a[part], b[part]) for a, b in pairs for part in a)  # type: ignore[literal-required]


@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(num_steps=st.integers(1, 8), num_sequences=st.integers(1, 8), seed=st.none() | st.integers(0, 99))
def test_a_pass_shows_every_step_once_and_the_sequences_go_on(
    num_steps: int, num_sequences: int, seed: int | None
) -> None:
    batches = list(MinariSequences(NAME, num_steps, num_sequences, seed))
    assert sorted(steps_of(batches)) == EVERY_STEP
    whole = {part: torch.cat([batch[part] for batch in batches]) for part in batches[0]}  # type: ignore[literal-required]
    assert whole["observations"].shape[1] == min(num_sequences, len(LENGTHS))
    for column in range(whole["observations"].shape[1]):
        valid = whole["valid"][:, column]
        assert not (valid[1:] & ~valid[:-1]).any()  # what is no data stands at the end
        shown = whole["observations"][valid, column, 0].long()
        begins = shown % 100 == 0
        assert torch.equal(whole["masks"][valid, column], 1.0 - begins.float())
        assert torch.equal(shown[1:][~begins[1:]], shown[:-1][~begins[1:]] + 1)
        assert torch.equal(whole["actions"][valid, column], shown % 100 % 3)
        assert torch.equal(whole["rewards"][valid, column], 10 * (shown % 100 + 1.0) + shown % 100 % 3)


def test_batches_have_the_types_that_models_and_losses_read() -> None:
    batch = next(MinariSequences(NAME, 4, 3))
    assert {part: values.dtype for part, values in batch.items()} == {  # type: ignore[attr-defined]
        "observations": torch.float32,
        "actions": torch.int64,
        "rewards": torch.float32,
        "masks": torch.float32,
        "valid": torch.bool,
    }
    assert batch["observations"].shape == (4, 3, 1)


def test_the_order_follows_from_the_seed() -> None:
    orders = {seed: steps_of(list(MinariSequences(NAME, 2, 2, seed))) for seed in (None, 1, 2)}
    assert orders[1] == steps_of(list(MinariSequences(NAME, 2, 2, 1)))
    assert orders[1] != orders[2]
    assert steps_of(list(MinariSequences(NAME, 1, 1))) == EVERY_STEP


@pytest.mark.parametrize("num_workers", [1, 2, 4])
def test_the_workers_share_the_episodes_whatever_their_epochs(num_workers: int) -> None:
    shown: list[int] = []
    for worker in range(num_workers):
        arguments = share_of_worker(worker, [8] * num_workers, seed=100 + worker)  # as if each were in another epoch
        shown += steps_of(list(MinariSequences(NAME, 3, 2, **arguments)))
    assert sorted(shown) == EVERY_STEP


@pytest.mark.parametrize("taken", range(9))
def test_a_restored_pass_goes_on_after_the_same_batch(taken: int) -> None:
    whole = list(MinariSequences(NAME, 2, 2, seed=3))
    begun = MinariSequences(NAME, 2, 2, seed=3)
    for _ in range(min(taken, len(whole))):
        next(begun)
    restored = MinariSequences(NAME, 2, 2, seed=3)
    restored.load_state_dict(begun.state_dict())
    assert same(list(restored), whole[taken:])


@pytest.mark.parametrize("room", [0, 200, 2**30])
def test_it_does_not_matter_which_episodes_are_still_in_memory(room: int, monkeypatch: pytest.MonkeyPatch) -> None:
    from_disk = list(MinariSequences(NAME, 2, 3, seed=3))
    monkeypatch.setattr(demonstrations, "_kept", demonstrations._KeptEpisodes(room))
    for seed in (1, 3):
        batches = list(MinariSequences(NAME, 2, 3, seed))
    assert same(batches, from_disk)
    assert (len(demonstrations._kept.episodes) == len(LENGTHS)) is (room > 200)


def test_a_dataset_that_was_made_anew_is_read_anew(datasets: Any) -> None:
    import minari

    list(MinariSequences(NAME))
    minari.delete_dataset(NAME)
    record(episodes=2)
    assert len(steps_of(list(MinariSequences(NAME)))) == sum(LENGTHS[:2])


def test_more_workers_than_episodes_are_refused() -> None:
    with pytest.raises(ExperimentError, match="has 6 episodes for 7 workers"):
        MinariSequences(NAME, worker=6, num_workers=7)


@pytest.mark.parametrize("name", ["toys/countin-v0", "nonsense", ""])
def test_a_dataset_that_is_not_there_is_refused_with_those_that_are(name: str) -> None:
    with pytest.raises(ExperimentError, match=r"known: 'toys/counting-v0'[\s\S]*trainctl record-demonstrations"):
        MinariSequences(name)


@pytest.mark.parametrize("argument", ["num_steps", "num_sequences"])
def test_sizes_below_one_are_refused(argument: str) -> None:
    with pytest.raises(ExperimentError, match=f"MinariSequences: {argument}"):
        MinariSequences(NAME, **{argument: 0})  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("space", "given_actions", "wanted"),
    [
        (spaces.Discrete(3, start=5), [5, 7], np.array([0, 2])),
        (spaces.MultiDiscrete([3, 4], start=[1, 0]), [[1, 3], [3, 0]], np.array([[0, 3], [2, 0]])),
        (spaces.Box(-1, 1, (2, 1), np.float64), [[[0.5], [-1]]], np.array([[0.5, -1]], np.float32)),
    ],
)
def test_actions_are_as_a_policy_gives_them(space: Any, given_actions: Any, wanted: np.ndarray) -> None:
    found = policy_actions(space, np.array(given_actions))
    np.testing.assert_array_equal(found, wanted)
    assert found.dtype == wanted.dtype
