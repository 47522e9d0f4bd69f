"""An update with numbers that are not finite is kept, and repeated from what was kept."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.end_to_end.runs import EXPERIMENT, run
from trainctl.core.engine.commands.debug_dump import repeat_update
from trainctl.core.errors import NonFiniteError

DOTTED = """
import gymnasium
import numpy as np
from trainctl.models import MLPActorCritic


class Dotted(gymnasium.Wrapper):
    \"\"\"CartPole whose observation is a dictionary with a dot in a key, and NaN in the 20th step.\"\"\"

    def __init__(self):
        super().__init__(gymnasium.make("CartPole-v1"))
        self.observation_space = gymnasium.spaces.Dict({"observation.pose": self.env.observation_space})
        self.steps = 0

    def reset(self, **options):
        observation, info = super().reset(**options)
        return {"observation.pose": observation}, info

    def step(self, action):
        self.steps += 1
        observation, *rest = super().step(action)
        return {"observation.pose": observation * (np.float32("nan") if self.steps == 20 else 1)}, *rest


class OfPose(MLPActorCritic):
    def __init__(self, observation_space, action_space):
        super().__init__(observation_space["observation.pose"], action_space, hidden_sizes=(16,))

    def forward(self, observations, memory, masks):
        return super().forward(observations["observation.pose"], memory, masks)
"""


def test_an_update_is_repeated_whatever_the_keys_of_its_observations_look_like(tmp_path: Path) -> None:
    source = DOTTED + EXPERIMENT.replace('environment="CartPole-v1"', "environment=Builder(Dotted)")
    source = source.replace("num_mini_batch=2", "num_mini_batch=1")
    source = source.replace('Builder(MLPActorCritic, {"hidden_sizes": (16,)})', "Builder(OfPose)")
    (tmp_path / "small.py").write_text(source)
    with pytest.raises(NonFiniteError):
        run(tmp_path, "first")
    repeated = repeat_update(tmp_path / "runs" / "first")
    assert repeated.is_reproduced
    pose = "the batch's observations.observation.pose: "
    (found,) = [line.removeprefix(pose) for line in repeated.findings if line.startswith(pose)]
    assert found == "16 of 800 entries are not finite"
