from __future__ import annotations

from typing import Any

import gymnasium
import numpy as np
import pytest
import torch
from gymnasium import spaces
from minigrid.wrappers import ImgObsWrapper

from trainctl.core.errors import ExperimentError
from trainctl.core.models.minigrid import CellEncoder, MissionEncoder
from trainctl.models import MiniGridActorCritic

GRID = spaces.Box(0, 255, (7, 7, 3), np.uint8)
MISSION = spaces.Box(0, 9, (4,), np.int64)


def test_it_reads_what_minigrid_gives() -> None:
    env = ImgObsWrapper(gymnasium.make("MiniGrid-DoorKey-5x5-v0"))
    model = MiniGridActorCritic(env.observation_space, env.action_space, memory="gru")
    image, _ = env.reset(seed=0)
    output = model(torch.from_numpy(image)[None, None], model.initial_memory(1), torch.zeros(1, 1))
    assert output.distribution.entropy().shape == output.values.shape == (1, 1)
    env.close()


def test_a_cell_is_the_sum_of_its_object_colour_and_state() -> None:
    cells = CellEncoder(4)
    grid = torch.tensor([[[[[4, 2, 1], [8, 1, 0]]]]], dtype=torch.uint8)
    door = cells.objects[4, 0, 0] + cells.colours[2, 0] + cells.states[1]
    goal = cells.objects[8, 0, 0] + cells.colours[1, 0] + cells.states[0]
    torch.testing.assert_close(cells(grid)[0, 0], torch.stack([door, goal]))


def test_indices_that_minigrid_does_not_have_share_the_last_place() -> None:
    cells = CellEncoder(4)
    strange = torch.full((1, 1, 1, 1, 3), 255, dtype=torch.uint8)
    torch.testing.assert_close(cells(strange), cells(torch.tensor([15, 7, 7]).view(1, 1, 1, 1, 3)))


def test_a_mission_is_the_mean_of_its_words_whatever_its_padding_and_order() -> None:
    mission, cells = MissionEncoder(MISSION, cell_size=4), torch.zeros(1, 3, 49, 4)
    words, _ = mission(torch.tensor([[[3, 9, 0, 0], [9, 0, 3, 0], [0, 0, 0, 0]]]), cells)
    mean = (mission.embedding.weight[3] + mission.embedding.weight[9]) / 2
    torch.testing.assert_close(words[0], torch.stack([mean, mean, torch.zeros(32)]))


@pytest.mark.parametrize("change", ["image", "direction", "mission"])
def test_every_part_of_the_observation_matters(change: str) -> None:
    space = spaces.Dict({"direction": spaces.Discrete(4), "image": GRID, "mission": MISSION})
    torch.manual_seed(0)
    model = MiniGridActorCritic(space, spaces.Discrete(7))
    observation = {
        "direction": torch.zeros(1, 1, dtype=torch.int64),
        "image": torch.zeros(1, 1, 7, 7, 3, dtype=torch.uint8),
        "mission": torch.zeros(1, 1, 4, dtype=torch.int64),
    }
    changed = observation | {change: observation[change] + 1}
    ones = torch.ones(1, 1)
    assert model(observation, None, ones).values != model(changed, None, ones).values


def test_acting_skips_the_value() -> None:
    model = MiniGridActorCritic(GRID, spaces.Discrete(7))
    model.value_head.register_forward_hook(lambda *_: pytest.fail("the value was asked"))
    model.policy(torch.zeros(1, 4, 7, 7, 3, dtype=torch.uint8), None, torch.ones(1, 4))


@pytest.mark.parametrize(
    ("space", "words"),
    [
        (
            spaces.Box(-1, 1, (4,)),
            r"cannot read the space Box\(-1.0, 1.0, \(4,\), float32\)(.|\n)*needs MiniGrid's image",
        ),
        (spaces.Dict({"direction": spaces.Discrete(4)}), r"Dict\('direction'(.|\n)*needs MiniGrid's image"),
        (spaces.Box(0, 255, (56, 56, 3), np.uint8), r"\(56, 56, 3\)(.|\n)*use CNNActorCritic for pictures"),
        (spaces.Dict({"image": GRID, "mission": spaces.Box(-1, 1, (4,))}), r"'mission'(.|\n)*it needs token ids"),
        (
            spaces.Dict({"image": GRID, "mission": spaces.Box(0, 2**62, (4,), np.int64)}),
            r"'mission'(.|\n)*to 100000 at most",
        ),
        (spaces.Dict({"image": GRID, "mission": spaces.Text(9)}), r"in the part 'mission'(.|\n)*token ids"),
    ],
)
def test_what_is_no_grid_is_refused_with_advice(space: gymnasium.Space[Any], words: str) -> None:
    with pytest.raises(ExperimentError, match=words):
        MiniGridActorCritic(space, spaces.Discrete(7))
