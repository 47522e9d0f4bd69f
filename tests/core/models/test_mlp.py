from __future__ import annotations

import numpy as np
import pytest
import torch
from gymnasium import spaces

from trainctl.core.errors import ExperimentError
from trainctl.core.models.vectors import VectorEncoder, leaf_spaces
from trainctl.models import MLPActorCritic


def test_choices_become_one_hot_from_the_start_of_their_space() -> None:
    space = spaces.Dict(
        {
            "both": spaces.MultiDiscrete([2, 3], start=[0, 5]),
            "flags": spaces.MultiBinary(2),
            "one": spaces.Discrete(3, start=-1),
        }
    )
    encoder = VectorEncoder(dict(leaf_spaces(space)), normalize=False, model="a model")
    observation = {
        "both": torch.tensor([[[1, 5]]]),
        "flags": torch.tensor([[[0, 1]]], dtype=torch.int8),
        "one": torch.tensor([[1]]),
    }
    assert encoder.size == 10
    assert encoder(observation).tolist() == [[[0, 1, 1, 0, 0, 0, 1, 0, 0, 1]]]


def test_without_memory_policy_and_value_share_nothing_and_acting_skips_the_value() -> None:
    model = MLPActorCritic(spaces.Box(-1, 1, (3,)), spaces.Discrete(2))
    model(torch.ones(1, 4, 3), None, torch.ones(1, 4)).values.sum().backward()
    learning = {name for name, parameter in model.named_parameters() if parameter.grad is not None}
    assert learning == {name for name, _ in model.named_parameters() if name.startswith("value_head.")}
    model.value_head.register_forward_hook(lambda *_: pytest.fail("the value was asked"))
    model.policy(torch.ones(1, 4, 3), None, torch.ones(1, 4))


def test_the_sizes_and_gains_are_those_of_published_ppo() -> None:
    model = MLPActorCritic(spaces.Box(-1, 1, (5,)), spaces.Discrete(2), hidden_sizes=(32, 16))
    shapes = [tuple(parameter.shape) for parameter in model.policy_head.parameters() if parameter.dim() == 2]
    assert shapes == [(32, 5), (16, 32), (2, 16)]
    for head, gain in ((model.policy_head, 0.01), (model.value_head, 1.0)):
        hidden, last = (parameter for parameter in list(head.parameters())[2::2])
        torch.testing.assert_close(hidden @ hidden.T, 2 * torch.eye(16))
        torch.testing.assert_close(last @ last.T, gain**2 * torch.eye(len(last)))
        assert not any(parameter.any() for parameter in head.parameters() if parameter.dim() == 1)


@pytest.mark.parametrize("memory", [None, "gru"])
def test_the_first_actions_have_the_standard_deviation_asked_for(memory: str | None) -> None:
    model = MLPActorCritic(spaces.Box(-1, 1, (3,)), spaces.Box(-1, 1, (2,)), memory=memory, initial_std=0.25)
    distribution, _ = model.policy(torch.ones(1, 4, 3), model.initial_memory(4), torch.ones(1, 4))
    noise = torch.ones(1, 4, 2)
    torch.testing.assert_close(distribution.sample(noise) - distribution.mode(), 0.25 * noise)
    with pytest.raises(ExperimentError, match="initial_std must be above 0, not 0"):
        MLPActorCritic(spaces.Box(-1, 1, (3,)), spaces.Box(-1, 1, (2,)), initial_std=0)


def test_no_hidden_layers_is_a_linear_model() -> None:
    model = MLPActorCritic(spaces.Box(-1, 1, (3,)), spaces.Discrete(2), hidden_sizes=())
    assert sum(parameter.numel() for parameter in model.parameters()) == (3 + 1) * 2 + (3 + 1)


@pytest.mark.parametrize("activation", ["tanh", "relu", "elu", "gelu", "silu"])
def test_every_activation_is_there(activation: str) -> None:
    model = MLPActorCritic(spaces.Box(-1, 1, (3,)), spaces.Discrete(2), activation=activation)
    assert model(torch.ones(1, 4, 3), None, torch.ones(1, 4)).values.shape == (1, 4)


def test_images_and_unknown_words_are_refused_with_advice() -> None:
    image = spaces.Box(0, 255, (84, 84, 3), np.uint8)
    with pytest.raises(ExperimentError, match=r"Box\(0, 255, \(84, 84, 3\), uint8\)\n(.*\n)?.*use CNNActorCritic"):
        MLPActorCritic(image, spaces.Discrete(2))
    with pytest.raises(ExperimentError, match=r"no activation 'tahn'(.|\n)*did you mean 'tanh'"):
        MLPActorCritic(spaces.Discrete(2), spaces.Discrete(2), activation="tahn")
    with pytest.raises(ExperimentError, match=r"at least 1, not \[2, 0\]"):
        MLPActorCritic(spaces.Discrete(2), spaces.Discrete(2), hidden_sizes=(0,))
    with pytest.raises(ExperimentError, match=r"cannot read the space Tuple(.|\n)*Dict of these"):
        MLPActorCritic(spaces.Tuple([spaces.Discrete(2)]), spaces.Discrete(2))
