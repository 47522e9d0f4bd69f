"""What every ready model promises, tried on all of them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import gymnasium
import numpy as np
import pytest
import torch
from gymnasium import spaces
from torch import Tensor

from trainctl.core.distributions import as_action_distribution, sampling_noise
from trainctl.core.errors import ExperimentError
from trainctl.core.tree import Tree, map_tree
from trainctl.models import ActorCritic, CNNActorCritic, MiniGridActorCritic, MLPActorCritic

T, B = 6, 3
GRID = spaces.Box(0, 255, (7, 7, 3), np.uint8)
MINIGRID = spaces.Dict({"direction": spaces.Discrete(4), "image": GRID, "mission": spaces.Box(0, 30, (5,), np.int64)})
CASES: dict[str, tuple[Callable[..., ActorCritic], gymnasium.Space[Any]]] = {
    "box": (MLPActorCritic, spaces.Box(-1, 1, (4,))),
    "box of one number": (MLPActorCritic, spaces.Box(-1, 1, ())),
    "matrix": (MLPActorCritic, spaces.Box(-1, 1, (2, 3), np.float64)),
    "discrete": (MLPActorCritic, spaces.Discrete(5, start=-2)),
    "multidiscrete": (MLPActorCritic, spaces.MultiDiscrete([3, 2])),
    "multibinary": (MLPActorCritic, spaces.MultiBinary([2, 2])),
    "dict": (
        MLPActorCritic,
        spaces.Dict(
            {
                "arm": spaces.Dict({"angle": spaces.Box(-1, 1, (2,)), "held": spaces.MultiBinary(1)}),
                "room": spaces.Discrete(3),
                "speed": spaces.Box(-1, 1, (3,)),
            }
        ),
    ),
    "image": (CNNActorCritic, spaces.Box(0, 255, (4, 40, 36), np.uint8)),
    "grey image": (CNNActorCritic, spaces.Box(0, 255, (12, 11), np.uint8)),
    "depth and vectors": (
        CNNActorCritic,
        spaces.Dict({"depth": spaces.Box(0, 1, (8, 9, 1)), "gps": spaces.Box(-9, 9, (2,)), "goal": spaces.Discrete(3)}),
    ),
    "minigrid": (MiniGridActorCritic, MINIGRID),
    "minigrid's image": (MiniGridActorCritic, GRID),
    "minigrid without mission": (MiniGridActorCritic, spaces.Dict({"direction": spaces.Discrete(4), "image": GRID})),
}
ACTION_SPACES: list[tuple[gymnasium.Space[Any], tuple[int, ...]]] = [
    (spaces.Discrete(4), ()),
    (spaces.MultiDiscrete([3, 2]), (2,)),
    (spaces.MultiBinary(3), (3,)),
    (spaces.Box(-1, 1, (2,)), (2,)),
]


def observations_of(space: gymnasium.Space[Any], steps: int = T) -> Tree:
    """Observations (steps, B, …) drawn from the space."""
    space.seed(0)

    def stack(samples: list[Any]) -> Tree:
        if isinstance(samples[0], dict):
            return {key: stack([sample[key] for sample in samples]) for key in samples[0]}
        array = np.stack([np.asarray(sample) for sample in samples])
        return torch.from_numpy(array).unflatten(0, (steps, B))

    return stack([space.sample() for _ in range(steps * B)])


def build(case: str, memory: str | None, actions: gymnasium.Space[Any] = ACTION_SPACES[0][0]) -> ActorCritic:
    model, space = CASES[case]
    torch.manual_seed(1)
    built = model(space, actions, memory=memory, memory_size=8)
    with torch.no_grad():
        for parameter in built.parameters():  # a new policy is nearly uniform whatever it sees
            parameter.add_(0.1 * torch.randn_like(parameter))
    return built


@pytest.mark.parametrize("memory", [None, "gru", "lstm"])
@pytest.mark.parametrize("case", CASES)
def test_t_steps_at_once_say_what_t_single_steps_say(case: str, memory: str | None) -> None:
    model, observations = build(case, memory), observations_of(CASES[case][1])
    masks = (torch.rand(T, B, generator=torch.Generator().manual_seed(3)) > 0.3).float()
    actions = torch.arange(T * B).view(T, B) % 4
    carried = model.initial_memory(B) if memory is None else torch.ones_like(model.initial_memory(B))
    together = model(observations, carried, masks)
    assert together.values.shape == (T, B)
    for t in range(T):
        own = map_tree(lambda leaf, t=t: leaf[t : t + 1], observations)
        alone = model(own, carried, masks[t : t + 1])
        distribution, remembered = model.policy(own, carried, masks[t : t + 1])
        expected = as_action_distribution(together.distribution).log_prob(actions)[t]
        torch.testing.assert_close(alone.values[0], together.values[t], atol=1e-5, rtol=0)
        torch.testing.assert_close(alone.distribution.log_prob(actions[t : t + 1])[0], expected, atol=1e-5, rtol=0)
        torch.testing.assert_close(distribution.log_prob(actions[t : t + 1])[0], expected, atol=1e-5, rtol=0)
        torch.testing.assert_close(remembered, alone.memory)
        carried = alone.memory
    torch.testing.assert_close(carried, together.memory, atol=1e-5, rtol=0)
    assert (carried is None) == (memory is None)


@pytest.mark.parametrize(("space", "shape"), ACTION_SPACES, ids=str)
@pytest.mark.parametrize("memory", [None, "gru"])
@pytest.mark.parametrize("case", ["box", "grey image", "minigrid"])
def test_every_action_space_gets_actions_of_its_shape(
    case: str, memory: str | None, space: gymnasium.Space[Any], shape: tuple[int, ...]
) -> None:
    model = build(case, memory, space)
    output = model(observations_of(CASES[case][1]), model.initial_memory(B), torch.ones(T, B))
    distribution = as_action_distribution(output.distribution)
    noise = torch.from_numpy(sampling_noise(space, np.random.default_rng(0), T * B)).unflatten(0, (T, B))
    actions = distribution.sample(noise)
    assert actions.shape == distribution.mode().shape == (T, B, *shape)
    assert distribution.log_prob(actions).shape == distribution.entropy().shape == (T, B)
    own = actions[0, 0].detach().numpy().astype(space.dtype)
    assert isinstance(space, spaces.Box) or space.contains(own if shape else own[()])


@pytest.mark.parametrize("case", CASES)
def test_every_parameter_learns(case: str) -> None:
    model = build(case, "lstm")
    output = model(observations_of(CASES[case][1]), model.initial_memory(B), torch.ones(T, B))
    (
        output.values.sum() + as_action_distribution(output.distribution).log_prob(torch.zeros(T, B).long()).sum()
    ).backward()
    without = [name for name, parameter in model.named_parameters() if parameter.grad is None]
    assert not without


@pytest.mark.parametrize("case", CASES)
def test_the_observation_matters_and_the_same_seed_gives_the_same_model(case: str) -> None:
    first, second, observations = build(case, None), build(case, None), observations_of(CASES[case][1])
    values: Tensor = first(observations, None, torch.ones(T, B)).values
    assert len(values.unique()) > 1
    assert torch.equal(values, second(observations, None, torch.ones(T, B)).values)
    assert all(type(part) is Tensor for part in first.state_dict().values())


@pytest.mark.parametrize("case", ["box", "grey image", "minigrid"])
def test_a_new_policy_is_nearly_uniform(case: str) -> None:
    model, space = CASES[case]
    torch.manual_seed(0)
    fresh = model(space, spaces.Discrete(4))
    distribution, _ = fresh.policy(observations_of(space), None, torch.ones(T, B))
    torch.testing.assert_close(distribution.entropy(), torch.full((T, B), 4.0).log(), atol=0.01, rtol=0)


@pytest.mark.parametrize("case", ["box", "grey image", "minigrid"])
def test_what_cannot_be_is_refused_in_words(case: str) -> None:
    model, space = CASES[case]
    with pytest.raises(ExperimentError, match=r"there is no memory 'gur'(.|\n)*did you mean 'gru'"):
        model(space, spaces.Discrete(2), memory="gur")
    with pytest.raises(ExperimentError, match="a memory must have a size of at least 1, not 0"):
        model(space, spaces.Discrete(2), memory="gru", memory_size=0)
    with pytest.raises(ExperimentError, match=r"acts in the action space Tuple(.|\n)*Discrete, MultiDiscrete"):
        model(space, spaces.Tuple([spaces.Discrete(2)]))


@pytest.mark.parametrize(("model", "image"), [(MLPActorCritic, spaces.Box(-1, 1, (2,))), (CNNActorCritic, GRID)])
def test_text_is_refused_with_advice_what_to_make_of_it(model: type[ActorCritic], image: spaces.Box) -> None:
    space = spaces.Dict({"image": image, "words": spaces.Text(9)})
    with pytest.raises(ExperimentError, match=r"Text\(1, 9.*in the part 'words'(.|\n)*token ids"):
        model(space, spaces.Discrete(2))
