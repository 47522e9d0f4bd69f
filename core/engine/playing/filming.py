"""Filming: episodes of a checkpoint's model, played as `evaluate` plays them, and kept as films."""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from ...errors import ExperimentError, UsageError
from ..environments import Episode, build_environments
from ..environments.serial import SerialEnvironments
from ..environments.tracked import TrackedEnvironment
from ..reporting.film import framed, make_folder, need, write_film
from ..saving.from_checkpoint import TrainedModel
from ..seeding import set_seed, untouched_global_random_state
from .evaluation import MOST_ENVIRONMENTS
from .policy import Policy, policy_of

DEFAULT_FRAMES_PER_SECOND = 30.0


@dataclass(frozen=True)
class Film:
    """An episode and where it can be seen."""

    path: Path
    episode: Episode


def film(
    opened: TrainedModel,
    episodes: int,
    folder: Path,
    suffix: str = ".gif",
    wanted: Callable[[Episode], bool] = lambda episode: True,
    seed: int = 0,
    deterministic: bool = True,
) -> Iterator[Film]:
    """Play so many episodes and write those that are wanted into the folder, one after another.

    suffix: ".gif" or ".mp4". Raises `ExperimentError` for environments that cannot draw themselves.
    """
    need(suffix)
    make_folder(folder)
    policy = policy_of(opened, deterministic, seed)
    with untouched_global_random_state():
        set_seed(seed)
        environments = build_environments(
            opened.environment, range(min(episodes, MOST_ENVIRONMENTS)), seed, "evaluation", 0
        )
        with closing(environments):
            if not isinstance(environments, SerialEnvironments):
                raise ExperimentError("a vector environment cannot be filmed", "give the experiment a gymnasium.Env")
            for number in range(episodes):
                environment = environments.environments[number % environments.num_envs]
                frames, episode = frames_of(environment, policy)
                if episode is not None and wanted(episode):
                    path = folder / f"{_name(number, episode)}{suffix}"
                    write_film(path, frames, speed_of(environment))
                    yield Film(path, episode)


def success_is(value: bool) -> Callable[[Episode], bool]:
    """Whether an episode succeeded, or failed. Raises `UsageError` for one that does not say."""

    def is_wanted(episode: Episode) -> bool:
        if "success" not in episode.metrics:
            hint = "set info['success'] when an episode ends, or leave out --only"
            raise UsageError("the environment does not say whether an episode succeeded", hint)
        return (episode.metrics["success"] > 0.5) == value

    return is_wanted


def frames_of(
    environment: TrackedEnvironment,
    policy: Policy,
    most_steps: float = math.inf,
    every: int = 1,
    small: bool = False,
    stop_requested: Callable[[], bool] = lambda: False,
) -> tuple[list[Image.Image], Episode | None]:
    """The frames of an episode that begins now, one for each `every` steps, and the episode.

    After `most_steps`, or a step after which somebody asks to stop, it is left, and there is no episode. small: see
    `framed`. Raises `ExperimentError` for an environment that cannot draw itself.
    """
    environment.env.unwrapped.render_mode = "rgb_array"
    observation, over, frames = environment.reset(), False, []
    policy.reset()
    steps, knows_better = 0, environment.env.has_wrapper_attr("expert_action")
    while not over and steps < most_steps:
        action = policy.act(observation)
        if steps % every == 0:
            expert = f"  expert {short(environment.expert_action())}" if knows_better else ""
            above = f"action {short(action)}  value {policy.value:.2f}"
            below = f"return {environment.episode_return:.2f}{expert}"
            frames.append(framed(drawn(environment), [above, below], small))
        observation, reward, terminated, truncated, info = environment.step(action)
        steps, over = steps + 1, terminated or truncated
        if stop_requested():
            break
    if not over:
        return frames, None
    episode = environment.record(info)
    ended = "terminated" if terminated else "truncated"
    lines = [f"{ended}  reward {float(reward):.2f}", f"return {episode.episode_return:.2f}"]
    return [*frames, framed(drawn(environment), lines, small)], episode


def drawn(environment: TrackedEnvironment) -> np.ndarray:
    """The environment as an image (H, W, 3). Raises `ExperimentError` with the reason if it gives none."""
    os.environ.setdefault("SDL_VIDEODRIVER", "dummy")  # pygame looks for a display, though it needs none
    try:
        image = environment.env.render()
    except Exception as error:
        hint = (
            "it must support render_mode='rgb_array'; some need an extra, e.g. pip install 'gymnasium[classic-control]'"
        )
        reason = str(error) or f"its render() raised {type(error).__name__}"
        raise ExperimentError(f"the environment {environment.env} cannot be drawn: {reason}", hint) from error
    if not isinstance(image, np.ndarray) or image.ndim != 3:
        hint = "its render() must return an image (height, width, 3) with render_mode='rgb_array'"
        raise ExperimentError(f"the environment {environment.env} gave no image but {type(image).__name__}", hint)
    return image.astype(np.uint8)


def speed_of(environment: TrackedEnvironment) -> float:
    """Frames per second at which the environment wants to be seen."""
    return float(environment.env.metadata.get("render_fps") or DEFAULT_FRAMES_PER_SECOND)


def _name(number: int, episode: Episode) -> str:
    outcome = {1.0: "-success", 0.0: "-failure"}.get(episode.metrics.get("success", -1.0), "")
    return f"episode-{number:03d}-return-{episode.episode_return:.6g}{outcome}"


def short(action: Any) -> str:
    """An action in a few characters; "none" where there is none."""
    if action is None:
        return "none"
    values = np.asarray(action)
    return f"{values}" if values.dtype.kind != "f" else np.array2string(values, precision=2, max_line_width=1000)
