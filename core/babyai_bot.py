"""The bot of the `minigrid` package, which need not look again at what the environment has just shown."""

from __future__ import annotations

from typing import Any

import numpy as np
from minigrid.utils.baby_ai_bot import BabyAIBot


class Eyes:
    """Remembers what a MiniGrid environment last showed: `gen_obs_grid` takes most of the time of its steps, and the
    bot's view is the agent's."""

    def __init__(self, env: Any) -> None:
        self.visible: np.ndarray = np.zeros((0, 0), bool)
        self._look = env.unwrapped.gen_obs_grid
        env.unwrapped.gen_obs_grid = self._remembering

    def _remembering(self, agent_view_size: int | None = None) -> Any:
        grid, visible = self._look(agent_view_size)
        if agent_view_size is None:
            self.visible = visible
        return grid, visible


class Bot(BabyAIBot):
    """The same advice in half the time."""

    def __init__(self, env: Any, eyes: Eyes) -> None:
        self.eyes = eyes
        super().__init__(env)  # type: ignore[no-untyped-call]
        self.stack: Plan = Plan(self.stack)

    def advice(self, taken: Any = None) -> int:
        """The action to take now, after the one that was taken since the last advice.

        Raises whatever goes wrong in the bot: assertions, missing objects, opened boxes.
        """
        self.stack.additions = 0
        return int(self.replan(taken))  # type: ignore[no-untyped-call]

    def _process_obs(self) -> None:
        """Mark the cells of the level that the agent sees."""
        env = self.mission.unwrapped
        right, forward = np.nonzero(self.eyes.visible)
        corner = env.agent_pos + env.dir_vec * (env.agent_view_size - 1) - env.right_vec * (env.agent_view_size // 2)
        cells = corner - np.outer(forward, env.dir_vec) + np.outer(right, env.right_vec)
        inside = ((cells >= 0) & (cells < self.vis_mask.shape)).all(axis=1)
        self.vis_mask[tuple(cells[inside].T)] = True


class Plan(list[Any]):
    """The bot's stack of subgoals, with an end to it: some states make the bot add subgoals forever."""

    additions = 0

    def append(self, subgoal: Any) -> None:
        self.additions += 1
        if self.additions > 200:
            raise RecursionError("the bot thinks in circles")
        super().append(subgoal)
