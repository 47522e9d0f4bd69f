"""The bot of the `minigrid` package, which need not look again at what the environment has just shown."""

from __future__ import annotations

from collections import deque
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

    def _breadth_first_search(self, initial_states: Any, accept_fn: Any, ignore_blockers: bool) -> Any:
        """The same search in the same order, without copies of the queue and without numbers of NumPy."""
        grid, seen = self.mission.unwrapped.grid, self.vis_mask.tolist()
        queue: deque[Any] = deque((tuple(map(int, state)), None) for state in initial_states)
        came_from: dict[Any, Any] = {}
        while queue:
            (x, y, right, down), before = queue.popleft()
            here = (x, y)
            if here in came_from:
                continue
            came_from[here] = before
            cell = grid.get(x, y)
            if accept_fn(here, cell):
                return _path_to(here, came_from), here, came_from
            if not seen[x][y] or (cell and not _lets_pass(cell, ignore_blockers)):
                continue
            for dx, dy in ((right, down), (down, right), (-down, -right), (-right, -down)):
                if (x + dx, y + dy) not in came_from:
                    queue.append(((x + dx, y + dy, dx, dy), here))
        return None, None, came_from

    def _process_obs(self) -> None:
        """Mark the cells of the level that the agent sees."""
        env = self.mission.unwrapped
        right, forward = np.nonzero(self.eyes.visible)
        corner = env.agent_pos + env.dir_vec * (env.agent_view_size - 1) - env.right_vec * (env.agent_view_size // 2)
        cells = corner - np.outer(forward, env.dir_vec) + np.outer(right, env.right_vec)
        inside = ((cells >= 0) & (cells < self.vis_mask.shape)).all(axis=1)
        self.vis_mask[tuple(cells[inside].T)] = True


def _lets_pass(cell: Any, ignore_blockers: bool) -> bool:
    if cell.type == "door":
        return bool(cell.is_open)
    return cell.type != "wall" and ignore_blockers


def _path_to(end: Any, came_from: dict[Any, Any]) -> list[Any]:
    """From the end to the beginning."""
    path = []
    while end:
        path.append(end)
        end = came_from[end]
    return path


class Plan(list[Any]):
    """The bot's stack of subgoals, with an end to it: some states make the bot add subgoals forever."""

    additions = 0

    def append(self, subgoal: Any) -> None:
        self.additions += 1
        if self.additions > 200:
            raise RecursionError("the bot thinks in circles")
        super().append(subgoal)
