from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from gymnasium import spaces
from torch import Tensor, nn

from tests.toys import resolved
from trainctl import LinearDecay
from trainctl.core.batch import Batch
from trainctl.core.engine.collecting.rollout import Rollout
from trainctl.core.engine.learning.minibatch import Minibatch
from trainctl.core.engine.learning.recorded import RecordedGradients, repeats_itself
from trainctl.core.engine.learning.weighing import Gradients, WeightedLoss
from trainctl.core.engine.learning.weights import Weights
from trainctl.core.engine.workers.workers import SingleWorker
from trainctl.core.model import ActorCriticOutput
from trainctl.losses import A2C, PPO, Imitation, LossOutput
from trainctl.models import CNNActorCritic, MiniGridActorCritic, MLPActorCritic

VECTOR, IMAGE = spaces.Box(-1, 1, (3,)), spaces.Box(0, 255, (1, 36, 36), "uint8")
GRID = spaces.Dict({"image": spaces.Box(0, 2, (7, 7, 3), "uint8"), "direction": spaces.Discrete(4)})
CHOICE, CHOICES, FORCE = spaces.Discrete(3), spaces.MultiDiscrete([2, 3]), spaces.Box(-1, 1, (2,))
STEPS, ENVIRONMENTS = 6, 2


def rollout_in(observations: Any, actions: Any, memory: Tensor | None, seed: int) -> Rollout:
    """A rollout with made-up content, an expert's actions among it."""
    torch.manual_seed(seed)
    observations.seed(seed)
    actions.seed(seed)
    rollout = Rollout(STEPS, ENVIRONMENTS, (observations, actions), torch.device("cpu"))
    seen = [[observations.sample() for _ in range(ENVIRONMENTS)] for _ in range(STEPS + 1)]
    for t, row in enumerate(seen):
        for i, one in enumerate(row):
            for name, leaf in one.items() if isinstance(one, dict) else [(None, one)]:
                (rollout.host_observations if name is None else rollout.host_observations[name])[t, i] = leaf
    for to in (rollout.host_actions, rollout.host_expert_actions):
        to[:] = [[actions.sample() for _ in range(ENVIRONMENTS)] for _ in range(STEPS)]
    rollout.host_rewards[:] = torch.randn(STEPS, ENVIRONMENTS).numpy()
    rollout.host_flags["valid"][:] = True
    rollout.host_flags["has_expert"][:] = torch.rand(STEPS, ENVIRONMENTS).numpy() > 0.3
    rollout.host_masks[2, 0] = 0
    rollout.first_memory = memory
    rollout.finish(has_expert=True)
    values = torch.randn(STEPS, ENVIRONMENTS)
    rollout.fields |= {"values": values, "log_probs": values - 2, "final_values": values, "bootstrap_value": values[0]}
    rollout.compute_returns(resolved(), SingleWorker())
    return rollout


def numbers(gradients: Gradients, minibatch: Minibatch) -> list[Tensor | None]:
    found = list(gradients(minibatch).vector.unbind())
    return found + [None if p.grad is None else p.grad.clone() for p in gradients.weights.parameters]


MODELS = {
    "vector": lambda action: MLPActorCritic(VECTOR, action, hidden_sizes=(4,), normalize_observations=True),
    "image": lambda action: CNNActorCritic(IMAGE, action),
    "grid": lambda action: MiniGridActorCritic(GRID, action),
    "GRU": lambda action: MLPActorCritic(VECTOR, action, hidden_sizes=(4,), memory="gru", memory_size=3),
    "LSTM": lambda action: MLPActorCritic(VECTOR, action, hidden_sizes=(4,), memory="lstm", memory_size=3),
}
OBSERVATIONS = {"vector": VECTOR, "image": IMAGE, "grid": GRID, "GRU": VECTOR, "LSTM": VECTOR}


@pytest.mark.parametrize(
    ("kind", "actions"),
    [
        ("vector", CHOICE),
        ("vector", CHOICES),
        ("vector", FORCE),
        ("image", CHOICE),
        ("grid", CHOICE),
        ("GRU", CHOICE),
        ("LSTM", FORCE),
    ],
)
def test_recorded_gradients_are_the_same_bits(kind: str, actions: Any) -> None:
    torch.manual_seed(0)
    model = MODELS[kind](actions)
    losses = [
        WeightedLoss("ppo", 1.0, PPO(clip_decay=LinearDecay(1000), clip_value=True)),
        WeightedLoss("a2c", 0.5, A2C()),
        WeightedLoss("imitation", 2.0, Imitation()),
    ]
    memory = model.initial_memory(ENVIRONMENTS)
    weights = Weights(model)
    recorded, plain = RecordedGradients(model, weights, losses), Gradients(model, weights, losses)
    recorded.prepare(rollout_in(OBSERVATIONS[kind], actions, memory, seed=0), 2)
    assert recorded._recordings
    another = rollout_in(OBSERVATIONS[kind], actions, memory, seed=1)
    with torch.no_grad():  # what moves between updates is not recorded
        weights.vectors[0].add_(0.01)
        for buffer in filter(torch.is_floating_point, model.buffers()):
            buffer.add_(1)
    for minibatch in (replace(example, stage_steps=steps) for example in another.examples(2) for steps in (900, 950)):
        own, expected = numbers(recorded, minibatch), numbers(plain, minibatch)
        for one, other in zip(own, expected, strict=True):
            assert (one is None) == (other is None)
            assert one is None or other is None or torch.equal(one, other)


class Counting(PPO):
    """A user's loss: nobody knows what it does the next time."""


class Own(nn.Module):
    """A user's model."""


class Promised(nn.Module):
    """A user's model with a promise."""

    repeats_itself = True


class MadeOfIt(Promised):
    """The promise was not made for this one."""


def with_a_hook() -> MLPActorCritic:
    model = MLPActorCritic(VECTOR, CHOICE)
    model.encoder.register_forward_hook(lambda *_: None)
    return model


@pytest.mark.parametrize(
    ("model", "loss", "expected"),
    [
        (MLPActorCritic(VECTOR, CHOICE), PPO(), True),
        (MLPActorCritic(VECTOR, CHOICE), Counting(), False),
        (nn.Sequential(nn.Linear(1, 1), Own()), PPO(), False),
        (nn.Sequential(nn.Linear(1, 1), Promised()), PPO(), True),
        (nn.Sequential(nn.Linear(1, 1), MadeOfIt()), PPO(), False),
        (nn.Sequential(nn.Linear(1, 1), nn.BatchNorm1d(1)), PPO(), False),
        (with_a_hook(), PPO(), False),
    ],
    ids=[
        "ours",
        "a user's loss",
        "a user's module",
        "promised",
        "made of it",
        "keeps statistics",
        "a hook",
    ],
)
def test_only_what_is_known_to_repeat_itself_is_recorded(model: nn.Module, loss: Any, expected: bool) -> None:
    assert repeats_itself(model, [WeightedLoss("loss", 1.0, loss)]) is expected


class ByItself(PPO):
    """A user's loss that promises to repeat itself, and asks how far the stage is."""

    repeats_itself = True

    def __call__(self, batch: Batch, output: ActorCriticOutput) -> LossOutput:
        return PPO(clip_range=0.1 if batch.stage_steps < 500 else 0.2)(batch, output)


def test_a_loss_that_asks_for_the_steps_of_the_stage_is_computed_step_by_step() -> None:
    model = MLPActorCritic(VECTOR, CHOICE, hidden_sizes=(4,))
    weights, losses = Weights(model), [WeightedLoss("own", 1.0, ByItself())]
    recorded = RecordedGradients(model, weights, losses)
    recorded.prepare(rollout_in(VECTOR, CHOICE, None, seed=0), 1)
    assert not recorded._recordings


def test_steps_that_are_no_data_are_computed_one_by_one() -> None:
    model = MLPActorCritic(VECTOR, CHOICE, hidden_sizes=(4,), memory="gru", memory_size=3)
    weights, losses = Weights(model), [WeightedLoss("ppo", 1.0, PPO())]
    recorded, plain = RecordedGradients(model, weights, losses), Gradients(model, weights, losses)
    rollout = rollout_in(VECTOR, CHOICE, model.initial_memory(ENVIRONMENTS), seed=0)
    recorded.prepare(rollout, 1)
    rollout.fields["valid"][3:] = False
    rollout.everything_is_valid = False
    (minibatch,) = rollout.minibatches(1, [np.random.default_rng(0)], 0)
    assert minibatch.batch().valid is not None
    for one, other in zip(numbers(recorded, minibatch), numbers(plain, minibatch), strict=True):
        assert one is not None
        assert other is not None
        assert torch.equal(one, other)
