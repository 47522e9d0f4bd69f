from __future__ import annotations

from pathlib import Path
from typing import Any

import gymnasium
import pytest
import torch

from tests.end_to_end.runs import run
from trainctl import TrainctlError, load_policy
from trainctl.core.engine.saving.from_checkpoint import evaluate_checkpoint


def play(policy: Any, seed: int) -> float:
    env = gymnasium.make("CartPole-v1")
    observation, _ = env.reset(seed=seed)
    policy.reset()
    total, over = 0.0, False
    while not over:
        observation, reward, terminated, truncated, _ = env.step(policy.act(observation))
        total, over = total + float(reward), terminated or truncated
    return total


def test_a_loaded_policy_plays_as_evaluate_does(tmp_path: Path) -> None:
    outcome = run(tmp_path, "first")
    policy = load_policy(outcome.run)
    played = evaluate_checkpoint(outcome.run, 1, True, 0, "cpu").summaries["return"].mean
    from trainctl.core.engine.seeding import derived_seed

    assert play(policy, derived_seed(0, "evaluation", 0, 0)) == played
    assert policy.value == policy.value
    assert policy.action_space == gymnasium.spaces.Discrete(2)


def test_an_address_chooses_the_checkpoint_and_nothing_of_the_caller_is_moved(tmp_path: Path) -> None:
    outcome = run(tmp_path, "first")
    torch.manual_seed(5)
    torch.set_num_threads(2)
    first = load_policy(f"{outcome.run}@stage:ppo-1", deterministic=False, seed=1)
    assert torch.get_num_threads() == 2
    expected = torch.Generator().manual_seed(5)
    assert torch.equal(torch.rand(3), torch.rand(3, generator=expected))
    again = load_policy(f"{outcome.run}@stage:ppo-1", deterministic=False, seed=1)
    assert play(first, 3) == play(again, 3)


def test_a_path_that_is_no_run_is_refused(tmp_path: Path) -> None:
    with pytest.raises(TrainctlError, match="does not exist"):
        load_policy(tmp_path / "nothing")


def test_a_damaged_newest_checkpoint_is_named_before_an_older_one_plays(tmp_path: Path) -> None:
    outcome = run(tmp_path, "first")
    assert outcome.checkpoint is not None
    (outcome.checkpoint / "model.safetensors").write_bytes(b"")
    with pytest.warns(UserWarning, match=rf"^{outcome.checkpoint.name} is damaged .* using step-000000001800$"):
        load_policy(outcome.run)
