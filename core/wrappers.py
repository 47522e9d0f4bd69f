"""Wrappers that make environments fit: experts, missions as numbers, success.

A wrapper is written into an experiment by a function that makes its environment; see
`experiments/babyai_dagger_then_ppo.py`.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, SupportsFloat

import gymnasium
import numpy as np
from gymnasium import spaces

from .errors import ExperimentError

if TYPE_CHECKING:
    from .babyai_bot import Bot

_WORDS = """
    a after an and at avoid ball behind blue box door end fetch find floor from front get go goal green grey hallway in
    it key lava left matching maze must near next object of on open opening or pick purple put reach red right room
    rooms square the then to traverse unlock up use wall yellow you your
"""

MINIGRID_WORDS = tuple(_WORDS.split())
"""Every word of MiniGrid's and BabyAI's missions. Their order is part of what a trained model knows: add at the end."""

PADDING, UNKNOWN_WORD = 0, 1


class TokenizedMission(gymnasium.ObservationWrapper[Any, Any, Any]):
    """The text under "mission" of a Dict observation as numbers: int64 (length,), one for each word.

    * words: the vocabulary; the n-th word (from 0) becomes n + 2. 1 is a word that is not in it, 0 is padding.
    * length: the most words that a mission may have; the longest of BabyAI has 37.

    "Go to the red ball" becomes e.g. [23, 59, 57, 49, 7, 0, …]. Case and punctuation do not count; the other parts of
    the observation stay as they are. Raises `ExperimentError` for an environment without missions, and for a mission
    that is too long.
    """

    def __init__(self, env: gymnasium.Env[Any, Any], words: Sequence[str] = MINIGRID_WORDS, length: int = 40) -> None:
        super().__init__(env)
        parts = env.observation_space
        if not isinstance(parts, spaces.Dict) or not _is_text(parts.get("mission")):
            raise ExperimentError(
                f'TokenizedMission found no text under "mission" in the observation space {parts}',
                "MiniGrid's and BabyAI's environments have one; wrap those before any other wrapper of observations",
            )
        self.length = length
        self.tokens = {word: number for number, word in enumerate(words, start=2)}
        tokens = spaces.Box(0, len(words) + 1, (length,), np.int64)
        self.observation_space = spaces.Dict({**parts.spaces, "mission": tokens})
        self._missions: dict[str, np.ndarray] = {}

    def observation(self, observation: dict[str, Any]) -> dict[str, Any]:
        """The observation with its mission as numbers."""
        mission = observation["mission"]
        if mission not in self._missions:
            self._missions = {mission: self._numbers(mission)}  # an episode has one mission
        return {**observation, "mission": self._missions[mission]}

    def _numbers(self, mission: str) -> np.ndarray:
        words = re.findall(r"\w+", mission.lower())
        if len(words) > self.length:
            raise ExperimentError(
                f"the mission {mission!r} has {len(words)} words; TokenizedMission was given length={self.length}",
                f"write TokenizedMission(env, length={len(words)}) or more",
            )
        numbers = np.full(self.length, PADDING)
        numbers[: len(words)] = [self.tokens.get(word, UNKNOWN_WORD) for word in words]
        return numbers


def _is_text(space: gymnasium.Space[Any] | None) -> bool:
    """Whether the elements are texts; MiniGrid's `MissionSpace` is no `Text`."""
    return space is not None and np.dtype(space.dtype).kind == "U"


class SuccessMetric(gymnasium.Wrapper[Any, Any, Any, Any]):
    """Says of each finished episode whether it succeeded: its return is greater than `above`.

    The metric `success` (0 or 1) is then known everywhere: `episode/success` in TensorBoard, and to early stopping.
    Fits MiniGrid and BabyAI, which reward nothing but success.
    """

    def __init__(self, env: gymnasium.Env[Any, Any], above: float = 0.0) -> None:
        super().__init__(env)
        self.above = above
        self._return = 0.0

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        """Begin an episode."""
        self._return = 0.0
        return self.env.reset(seed=seed, options=options)

    def step(self, action: Any) -> tuple[Any, SupportsFloat, bool, bool, dict[str, Any]]:
        """One step; the last one's info has `episode_metrics`."""
        observation, reward, terminated, truncated, info = self.env.step(action)
        self._return += float(reward)
        if terminated or truncated:
            others = info.get("episode_metrics", {})
            info = {**info, "episode_metrics": {**others, "success": float(self._return > self.above)}}
        return observation, reward, terminated, truncated, info


class BabyAIExpert(gymnasium.Wrapper[Any, Any, Any, Any]):
    """The bot of the `minigrid` package as the expert of a BabyAI level (Chevalier-Boisvert et al. 2019,
    https://arxiv.org/abs/1810.08272).

    It follows what the agent does, also where that is not what it advised. Where it was not asked at every step of an
    episode it thinks anew. Where it gives up (with an exception, or by thinking in circles: now and then in any level,
    often in a few) it has no action until the next episode begins.

    Raises `ExperimentError` for an environment that is no BabyAI level.
    """

    def __init__(self, env: gymnasium.Env[Any, Any]) -> None:
        super().__init__(env)
        from minigrid.envs.babyai.core.roomgrid_level import RoomGridLevel

        if not isinstance(env.unwrapped, RoomGridLevel):
            raise ExperimentError(
                f"BabyAIExpert plays the levels of BabyAI; {env} is none",
                'its ids begin with "BabyAI-"; for others write a wrapper with a method expert_action()',
            )
        from .babyai_bot import Eyes

        self._eyes = Eyes(env)
        self._forget()

    def _forget(self) -> None:
        self._bot: Bot | None = None
        self._gave_up = False
        self._advice: int | None = None
        self._taken: list[Any] = []  # since the bot was asked

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        """Begin an episode; the bot is made when it is first asked."""
        self._forget()
        with contextlib.redirect_stdout(None):  # BabyAI prints every room that it made and rejected
            return self.env.reset(seed=seed, options=options)

    def step(self, action: Any) -> tuple[Any, SupportsFloat, bool, bool, dict[str, Any]]:
        """One step, which the bot will hear of."""
        self._taken.append(action)
        return self.env.step(action)

    def expert_action(self) -> int | None:
        """What the bot would do now, or None where it has given up."""
        if not self._gave_up and (self._bot is None or self._taken):
            try:
                self._advice = self._ask()
            except Exception:  # assertions, missing objects, opened boxes: whatever it is, the bot is at its wits' end
                self._gave_up, self._advice = True, None
        return self._advice

    def _ask(self) -> int:
        from .babyai_bot import Bot

        taken, self._taken = self._taken, []
        if self._bot is not None and len(taken) == 1:
            return self._bot.advice(taken[0])
        self._bot = Bot(self.env.unwrapped, self._eyes)
        return self._bot.advice()
