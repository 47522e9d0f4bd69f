from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from gymnasium import spaces
from torch import nn

from trainctl.core.distributions import Categorical, number_of_parameters, sampling_noise
from trainctl.core.engine.collecting.acting import Actor, NumpyActor, RecordedActor, actor_of
from trainctl.core.engine.collecting.rollout import EVERYTHING, Rollout
from trainctl.core.engine.learning.compiler import Compiler, NoCompiler
from trainctl.core.engine.seeding import stream
from trainctl.core.model import ActorCriticOutput
from trainctl.models import CNNActorCritic, MiniGridActorCritic, MLPActorCritic

CPU = torch.device("cpu")
VECTOR, IMAGE = spaces.Box(-1, 1, (3,)), spaces.Box(0, 255, (1, 11, 11), "uint8")
GRID = spaces.Dict({"image": spaces.Box(0, 255, (5, 5, 3), "uint8"), "direction": spaces.Discrete(4)})
CHOICE, FORCE = spaces.Discrete(3), spaces.Box(-1, 1, (2,))
STEPS, ENVIRONMENTS = 4, 3


def rollout_in(space: Any, action: Any) -> tuple[Rollout, np.ndarray]:
    """A rollout with made-up observations, and noise for its actions."""
    rollout = Rollout(STEPS, ENVIRONMENTS, (space, action), CPU)
    leaves = rollout.host_observations
    for number, leaf in enumerate(leaves.values() if isinstance(leaves, dict) else [leaves]):
        leaf[:] = stream(number, "observations").integers(0, 3, leaf.shape)
    rollout.host_masks[2, 1] = 0.0
    shape = (STEPS, ENVIRONMENTS, number_of_parameters(action))
    return rollout, sampling_noise(action, stream(0, "actions"), STEPS * ENVIRONMENTS).reshape(shape)


def acted(actor: Actor, model: Any, rollout: Rollout, noise: np.ndarray) -> list[Any]:
    memory, found = model.initial_memory(ENVIRONMENTS), list[Any]()
    torch.manual_seed(0)
    with torch.inference_mode():
        actor.begin(noise, CPU)
        for t in range(STEPS):
            actions, memory = actor.act(rollout.columns(EVERYTHING), t, memory)
            found += [actions.tolist(), None if memory is None else memory.tolist()]
    return found


@pytest.mark.parametrize(
    ("model", "space", "action"),
    [
        (lambda space, action: MLPActorCritic(space, action, memory="gru", memory_size=4), VECTOR, CHOICE),
        (lambda space, action: MLPActorCritic(space, action, memory="lstm", memory_size=4), VECTOR, FORCE),
        (MiniGridActorCritic, GRID, CHOICE),
        (CNNActorCritic, IMAGE, CHOICE),
    ],
)
def test_a_recorded_actor_takes_the_same_actions(model: Any, space: Any, action: Any) -> None:
    torch.manual_seed(0)
    model = model(space, action)
    rollout, noise = rollout_in(space, action)
    recorded = actor_of(model, ENVIRONMENTS, CPU, NoCompiler())
    assert isinstance(recorded, RecordedActor)
    assert acted(recorded, model, rollout, noise) == acted(Actor(model), model, rollout, noise)
    with torch.no_grad():  # what learns is not recorded
        for parameter in model.parameters():
            parameter.add_(torch.randn_like(parameter))
    assert acted(recorded, model, rollout, noise) == acted(Actor(model), model, rollout, noise)
    assert recorded._repeat is not None


@pytest.mark.parametrize(
    ("make", "space", "action"),
    [
        (lambda *spaces: MLPActorCritic(*spaces, memory="gru", memory_size=4), VECTOR, CHOICE),
        (lambda *spaces: MLPActorCritic(*spaces, memory="gru", memory_size=4), VECTOR, FORCE),
        (CNNActorCritic, IMAGE, CHOICE),
    ],
)
def test_a_recorded_actor_evaluates_its_actions_and_choices_of_others_as_well(
    make: Any, space: Any, action: Any
) -> None:
    torch.manual_seed(0)
    model = make(space, action)
    rollout, noise = rollout_in(space, action)
    actor = actor_of(model, ENVIRONMENTS, CPU, NoCompiler())
    assert actor.evaluated(torch.zeros(0), are_own=True) is None
    for _ in range(2):
        found = acted(actor, model, rollout, noise)
        actions = torch.tensor(found[::2])
        evaluated = actor.evaluated(actions, are_own=True)
        assert evaluated is not None
        observations, masks = rollout.observations[:STEPS], rollout.masks[:STEPS]
        distribution, values, _ = model(observations, model.initial_memory(ENVIRONMENTS), masks)
        torch.testing.assert_close(evaluated[0], values)
        torch.testing.assert_close(evaluated[1], distribution.log_prob(actions))
        experts = torch.zeros_like(actions)
        evaluated = actor.evaluated(experts, are_own=False)
        assert (evaluated is None) is (action is FORCE)
        if evaluated is not None:
            torch.testing.assert_close(evaluated[1], distribution.log_prob(experts))


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")  # the compiler uses what torch itself has deprecated
@pytest.mark.parametrize(
    ("make", "space"),
    [
        (lambda *spaces: MiniGridActorCritic(*spaces, memory="gru", memory_size=4), GRID),
        (lambda *spaces: MLPActorCritic(*spaces, memory="lstm", memory_size=4), VECTOR),
    ],
)
def test_compiled_acting_is_the_same_up_to_rounding(make: Any, space: Any) -> None:
    torch.manual_seed(0)
    model = make(space, CHOICE)
    rollout, noise = rollout_in(space, CHOICE)
    said: list[str] = []
    actor = actor_of(model, ENVIRONMENTS, CPU, Compiler(said.append, said.append))
    found, expected = (acted(one, model, rollout, noise) for one in (actor, Actor(model)))
    assert found[::2] == expected[::2]
    for memory, other in zip(found[1::2], expected[1::2], strict=True):
        assert np.ravel(memory) == pytest.approx(np.ravel(other), abs=1e-6)
    assert said == ["compiling how the model acts, which takes from a few seconds to a minute"]
    evaluated = actor.evaluated(torch.tensor(found[::2]), are_own=True)
    recorded = actor_of(model, ENVIRONMENTS, CPU, NoCompiler())
    again = recorded.evaluated(torch.tensor(acted(recorded, model, rollout, noise)[::2]), are_own=True)
    assert evaluated is not None
    assert again is not None
    torch.testing.assert_close(evaluated, again)


def test_acting_that_the_compiler_refuses_is_recorded_and_it_says_why(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: Any) -> None:
        raise RuntimeError("no C++ compiler found\nwith many more lines")

    monkeypatch.setattr("trainctl.core.engine.collecting.acting.in_one_graph", refuse)
    model = MiniGridActorCritic(GRID, CHOICE)
    rollout, noise = rollout_in(GRID, CHOICE)
    said: list[str] = []
    actor = actor_of(model, ENVIRONMENTS, CPU, Compiler(said.append, said.append))
    assert acted(actor, model, rollout, noise) == acted(Actor(model), model, rollout, noise)
    assert said[1:] == ["not compiled, so slower: how the model acts: RuntimeError: no C++ compiler found"]
    assert isinstance(actor, RecordedActor)
    assert actor._repeat is not None


def test_an_actor_that_is_not_recorded_leaves_the_values_to_one_batch() -> None:
    rollout, noise = rollout_in(IMAGE, CHOICE)
    plain = Actor(CNNActorCritic(IMAGE, CHOICE))
    with torch.inference_mode():
        plain.begin(noise, CPU)
        plain.act(rollout.columns(EVERYTHING), 0, None)
    assert plain.evaluated(torch.zeros(0), are_own=True) is None


class Own(nn.Module):
    """A user's model, of which nobody knows what it does."""

    def forward(self, observations: Any, memory: Any, masks: Any) -> ActorCriticOutput:
        return ActorCriticOutput(torch.distributions.Categorical(logits=observations), observations[..., 0], None)


class Promised(Own):
    """One that draws random numbers, as torch's own distributions do, and promises what it cannot keep."""

    repeats_itself = True

    def initial_memory(self, count: int) -> None:
        """It has none."""


class Forward(MLPActorCritic):
    """A ready model with another `forward`."""

    def forward(self, observations: Any, memory: Any, masks: Any) -> ActorCriticOutput:
        distribution, values, memory = super().forward(observations, memory, masks)
        return ActorCriticOutput(Categorical(distribution.logits + torch.tensor([0.0, 0.0, 99.0])), values, memory)


class Quick(Forward):
    """That knows its policy without the values."""

    def policy(self, observations: Any, memory: Any, masks: Any) -> Any:
        return Categorical(torch.tensor([0.0, 99.0, 0.0]).expand(*masks.shape, 3)), memory


class Parts(Own):
    """One whose head has the name of a method."""

    def __init__(self) -> None:
        super().__init__()
        self.policy = nn.Linear(3, 3)

    def initial_memory(self, count: int) -> None:
        """It has none."""


@pytest.mark.parametrize(("make", "action"), [(Forward, 2), (Quick, 1)])
def test_a_model_with_a_forward_of_its_own_acts_as_that_says(make: Any, action: int) -> None:
    model = make(VECTOR, CHOICE)
    rollout, noise = rollout_in(VECTOR, CHOICE)
    found = acted(actor_of(model, ENVIRONMENTS, CPU, NoCompiler()), model, rollout, noise)
    assert found == [[action] * ENVIRONMENTS, None] * STEPS


def test_a_part_of_a_model_may_be_called_policy() -> None:
    model = Parts()
    rollout, noise = rollout_in(VECTOR, CHOICE)
    expected = acted(actor_of(Promised(), ENVIRONMENTS, CPU, NoCompiler()), model, rollout, noise)
    assert acted(actor_of(model, ENVIRONMENTS, CPU, NoCompiler()), model, rollout, noise) == expected


def test_every_model_has_an_actor_that_fits_it() -> None:
    assert type(actor_of(MLPActorCritic(VECTOR, CHOICE), 8, CPU, NoCompiler())) is NumpyActor
    assert type(actor_of(Own(), 8, CPU, NoCompiler())) is Actor


def test_what_cannot_be_recorded_after_all_is_computed_as_ever() -> None:
    rollout, noise = rollout_in(VECTOR, CHOICE)
    actor = actor_of(Promised(), ENVIRONMENTS, CPU, NoCompiler())
    assert isinstance(actor, RecordedActor)
    assert acted(actor, Promised(), rollout, noise) == acted(Actor(Promised()), Promised(), rollout, noise)
    assert actor._repeat is None
