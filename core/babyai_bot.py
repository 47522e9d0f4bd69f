"""The bot of the `minigrid` package, which need not look again at what the environment has just shown."""

from __future__ import annotations

from collections import deque
from functools import cache
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
        """The same search in the same order, by the numbers of the cells, row by row. How all cells were come to, the
        third that it gives, is asked for only where there is no path."""
        grid, seen = self.mission.unwrapped.grid, self.vis_mask.ravel(order="F").tolist()
        cells, width = grid.grid, grid.width  # never asked for beyond its border: there is a wall, seen or not
        places = _places(width, grid.height)
        aside = {1: width, -1: -width, width: 1, -width: -1}
        queue = deque((int(x + y * width), int(right + down * width), -1) for x, y, right, down in initial_states)
        queued = {here for here, *_ in queue}
        came_from: dict[int, int] = {}
        while queue:
            here, ahead, before = queue.popleft()
            came_from[here] = before
            cell = cells[here]
            if accept_fn(places[here], cell):
                return [places[at] for at in _path_to(here, came_from)], places[here], None
            if not seen[here] or (cell and not _lets_pass(cell, ignore_blockers)):
                continue
            side = aside[ahead]
            for step in (ahead, side, -side, -ahead):
                if here + step not in queued:
                    queued.add(here + step)
                    queue.append((here + step, step, here))
        return None, None, {places[at]: places[before] if before >= 0 else None for at, before in came_from.items()}

    def _process_obs(self) -> None:
        """Mark the cells of the level that the agent sees."""
        env = self.mission.unwrapped
        (x, y), size = map(int, env.agent_pos), env.agent_view_size
        half, ahead = size // 2, size - 1
        turned, left, top = (
            (self.eyes.visible.T[::-1], x, y - half),
            (self.eyes.visible[::-1, ::-1], x - half, y),
            (self.eyes.visible.T[:, ::-1], x - ahead, y - half),
            (self.eyes.visible, x - half, y - ahead),
        )[env.agent_dir]
        level = self.vis_mask[max(left, 0) : left + size, max(top, 0) : top + size]
        right, bottom = max(-left, 0), max(-top, 0)
        level |= turned[right : right + level.shape[0], bottom : bottom + level.shape[1]]


def _lets_pass(cell: Any, ignore_blockers: bool) -> bool:
    if cell.type == "door":
        return bool(cell.is_open)
    return cell.type != "wall" and ignore_blockers


def _path_to(end: int, came_from: dict[int, int]) -> list[int]:
    """From the end to the beginning."""
    path = []
    while end >= 0:
        path.append(end)
        end = came_from[end]
    return path


@cache
def _places(width: int, height: int) -> list[tuple[int, int]]:
    """Column and row of each cell by its number."""
    return [(x, y) for y in range(height) for x in range(width)]


class Plan(list[Any]):
    """The bot's stack of subgoals, with an end to it: some states make the bot add subgoals forever."""

    additions = 0

    def append(self, subgoal: Any) -> None:
        self.additions += 1
        if self.additions > 200:
            raise RecursionError("the bot thinks in circles")
        super().append(subgoal)
