"""That each algorithm learns, in seconds. All seeds are fixed, so each result is a number that does not change; the
thresholds lie well away from it, for another CPU may round otherwise."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from tests.learning.toys import (
    CPU,
    BrightCorner,
    Cue,
    Doors,
    Identity,
    Reach,
    TwoDigits,
    Wages,
    mean_return,
    trained,
)
from trainctl import Builder, LinearDecay
from trainctl.core.engine.trainer import Trainer
from trainctl.core.engine.workers.workers import SingleWorker
from trainctl.core.experiment_file import load_experiment
from trainctl.losses import A2C, PPO, Imitation
from trainctl.models import CNNActorCritic, MLPActorCritic

EXPERIMENTS = Path(__file__).parents[2] / "experiments"
ONCE = {"num_mini_batch": 1, "update_repeats": 1}


def test_ppo_learns_cartpole() -> None:
    torch.set_num_threads(1)
    experiment = load_experiment(EXPERIMENTS / "cartpole_ppo.py", {"steps": "60_000"}).experiment
    trainer = Trainer(experiment, 0, CPU, SingleWorker())
    trainer.build()
    trainer.train()
    trainer.close()
    assert mean_return(trainer.model, "CartPole-v1", episodes=16) > 300


def test_ppo_learns_to_answer_with_what_it_is_shown() -> None:
    model = trained(Identity, PPO(), 5_000)
    assert mean_return(model, Identity) > 7.9
    assert mean_return(model, Identity, deterministic=False) > 7.5


def test_a2c_learns_to_answer_with_what_it_is_shown() -> None:
    model = trained(Identity, A2C(), 10_000, num_steps=5, **ONCE)
    assert mean_return(model, Identity) > 7.9
    assert mean_return(model, Identity, deterministic=False) > 7.5


def test_ppo_learns_two_choices_at_once() -> None:
    assert mean_return(trained(TwoDigits, PPO(), 6_000), TwoDigits) > 7.9


def test_ppo_learns_from_images() -> None:
    small = Builder(CNNActorCritic, {"features": 32})
    assert mean_return(trained(BrightCorner, PPO(), 3_000, model=small, learning_rate=3e-3), BrightCorner) > 7.5


@pytest.mark.parametrize("normalize", [False, True])
def test_ppo_learns_to_walk_to_a_point(normalize: bool) -> None:
    model = Builder(MLPActorCritic, {"hidden_sizes": (32,), "normalize_observations": normalize})
    agent = trained(Reach, PPO(entropy_coefficient=0.0), 12_000, model=model, learning_rate=6e-3)
    assert mean_return(agent, Reach) > -1.5


def test_imitation_alone_learns_what_the_expert_does() -> None:
    agent = trained(Identity, Imitation(), 4_000)
    assert mean_return(agent, Identity, deterministic=False) > 7.5


def test_teacher_forcing_shows_what_the_agent_would_not_have_reached_by_itself() -> None:
    forced = trained(Doors, Imitation(), 2_048, num_mini_batch=1, teacher_forcing=LinearDecay(2_048))
    alone = trained(Doors, Imitation(), 2_048, num_mini_batch=1)
    assert mean_return(forced, Doors, deterministic=False) > 6
    assert mean_return(alone, Doors, deterministic=False) < 5


@pytest.mark.parametrize("memory", ["gru", "lstm"])
def test_with_a_memory_what_was_seen_once_is_known_later(memory: str) -> None:
    assert mean_return(trained_on_cues(memory), Cue) > 0.95


def test_without_a_memory_it_is_not() -> None:
    assert mean_return(trained_on_cues(None), Cue) < 0.7


def trained_on_cues(memory: str | None) -> torch.nn.Module:
    model = Builder(MLPActorCritic, {"hidden_sizes": (16,), "memory": memory, "memory_size": 16})
    # with half the steps in half as long rollouts one seed in twenty has not yet begun to remember
    return trained(Cue, PPO(), 12_000, model=model, num_steps=16, num_mini_batch=1)


def test_the_value_of_an_episode_that_is_over_counts_what_is_left_of_it() -> None:
    unpaid, paid = values_learned(over=True)
    assert unpaid == pytest.approx([0] * 5, abs=0.1)
    # at first 1 + 0.7 + 0.7² + 0.7³ + 0.7⁴, at last 1
    assert paid == pytest.approx([2.77, 2.53, 2.19, 1.70, 1.00], abs=0.1)


def test_the_value_of_an_episode_that_is_only_cut_off_counts_what_would_have_followed() -> None:
    unpaid, paid = values_learned(over=False)
    assert unpaid == pytest.approx([0] * 5, abs=0.1)
    # 1 + 0.7 + 0.7² + … without end
    assert paid == pytest.approx([3.33] * 5, abs=0.15)


def values_learned(over: bool) -> tuple[list[float], list[float]]:
    """The values at each step of an episode without pay, and of one with pay."""
    model: Any = trained(Builder(Wages, {"over": over}), A2C(), 20_000, num_steps=16, gamma=0.7, **ONCE)
    with torch.no_grad():
        values: list[float] = model(torch.arange(10)[None], None, torch.ones(1, 10)).values[0].tolist()
    return values[:5], values[5:]
