from __future__ import annotations

import contextlib

import gymnasium
import minigrid
import numpy as np
import pytest

from trainctl.core.babyai_bot import Bot, Eyes

gymnasium.register_envs(minigrid)


@pytest.mark.parametrize("level", ["GoToLocal", "PickupLoc", "PutNextLocal", "UnlockLocal", "GoToObjMaze"])
def test_the_bot_advises_what_that_of_minigrid_advises(level: str) -> None:
    from minigrid.utils.baby_ai_bot import BabyAIBot

    env = gymnasium.make(f"BabyAI-{level}-v0", disable_env_checker=True)
    eyes, generator, asked = Eyes(env), np.random.default_rng(0), 0
    for seed in range(3):
        with contextlib.redirect_stdout(None):
            env.reset(seed=seed)
        ours, theirs, taken, over, steps = Bot(env, eyes), BabyAIBot(env), None, False, 0
        while not over and steps < 60:
            advice = ours.advice(taken)
            assert advice == int(theirs.replan(taken))
            assert ours.vis_mask.tolist() == theirs.vis_mask.tolist()
            taken = advice if generator.random() < 0.8 else int(generator.integers(0, 3))
            _, _, terminated, truncated, _ = env.step(taken)
            over, steps = terminated or truncated, steps + 1
        asked += steps
    assert asked > 10
