"""What an environment's spaces, first reset and first step show of mistakes in it, in words that its author can use.

The environment may be many in one, a VectorEnv, which gives each thing once for each of them. Each function raises
ExperimentError: what is wrong here would be wrong in every step, and no replacement helps.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Mapping
from typing import Any, TypeAlias

import gymnasium
import numpy as np
from gymnasium.vector import VectorEnv, VectorWrapper

from ...errors import ExperimentError, Fault, shown, written
from ...tree import Tree, made_of
from .spaces import allocate, as_array, observation_layout

AnyEnv: TypeAlias = gymnasium.Env[Any, Any] | VectorEnv


class LookedAt:
    """An environment's reset and step, the first of each looked at. Its spaces are looked at at once."""

    def __init__(self, env: AnyEnv) -> None:
        look_at_spaces(env)
        self.env = env
        self.reset: Callable[..., Any] = self._first_reset
        self.step: Callable[[Any], Any] = self._first_step

    def _first_reset(self, seed: int) -> Any:
        self.reset = self.env.reset
        return first_reset(self.env, seed)

    def _first_step(self, action: Any) -> Any:
        self.step = self.env.step
        return first_step(self.env, action)


def look_at_spaces(env: AnyEnv) -> None:
    """It must have both."""
    prefix = "single_" if isinstance(env, VectorEnv) else ""
    for own, example in (("observation_space", "Box(-1.0, 1.0, (4,))"), ("action_space", "Discrete(2)")):
        name = prefix + own
        space = getattr(env, name, None)
        if not isinstance(space, gymnasium.Space):
            found = "has no" if space is None else f"has {space!r}, which is no gymnasium.Space, as"
            hint = f"give it one in its __init__: self.{name} = gymnasium.spaces.{example}"
            raise _error(env, "__init__", f"{env} {found} {name}", hint)


def first_reset(env: AnyEnv, seed: int) -> tuple[Any, dict[str, Any]]:
    """Reset it; returns what it gives."""
    for layer in _layers(env):
        parameters = inspect.signature(layer.reset).parameters
        if "seed" not in parameters and all(one.kind != one.VAR_KEYWORD for one in parameters.values()):
            hint = "write reset(self, *, seed=None, options=None) and call super().reset(seed=seed) in it"
            raise _error(layer, "reset", f"reset() of {layer} takes no seed, so nothing could be repeated", hint)
    answer: Any = env.reset(seed=seed)
    if not (isinstance(answer, tuple) and len(answer) == 2 and isinstance(answer[1], Mapping)):
        raise _error(
            env, "reset", f"reset() of {env} gave {made_of(answer)}", "return observation, info (a dictionary)"
        )
    _look_at_observation(env, "reset", answer[0])
    return answer


def first_step(env: AnyEnv, action: Any) -> Any:
    """Take a step; returns what it gives."""
    answer: Any = env.step(action)
    if not (isinstance(answer, tuple) and len(answer) == 5 and isinstance(answer[4], Mapping)):
        hint = "return observation, reward, terminated, truncated, info (a dictionary)"
        if isinstance(answer, tuple) and len(answer) == 4:
            hint += "; gym's old `done` is terminated where the episode is over, truncated where time is"
        raise _error(env, "step", f"step() of {env} gave {made_of(answer)}", hint)
    observation, reward, terminated, truncated, _ = answer
    _look_at_observation(env, "step", observation)
    for name, value in (("reward", reward), ("terminated", terminated), ("truncated", truncated)):
        if np.shape(value) != _each(env) or as_array(value).dtype.kind not in "biuf":
            hint = "a reward is one number, terminated and truncated are True or False"
            hint += ", each for each environment" if _each(env) else ""
            raise _error(env, "step", f"step() of {env} gave {made_of(value)} as {name}", hint)
    return answer


def _each(env: AnyEnv) -> tuple[int, ...]:
    """The shape of what it gives once for each environment: () or (N,)."""
    return (env.num_envs,) if isinstance(env, VectorEnv) else ()


def _look_at_observation(env: AnyEnv, method: str, observation: Any) -> None:
    name = "single_observation_space" if isinstance(env, VectorEnv) else "observation_space"
    space = getattr(env, name)
    layout = allocate(observation_layout(space), *_each(env))
    for complaint in _complaints(layout, observation, "the observation"):
        hint = f"its {name} is {shown(space)}: observations and space must fit"
        raise _error(env, method, f"{method}() of {env} gave an observation outside its space: {complaint}", hint)


def _complaints(layout: Tree, observation: Any, name: str) -> Iterator[str]:
    """How its keys, shape and kind of numbers differ from what the space says. Values are not looked at."""
    if isinstance(layout, dict):
        if not isinstance(observation, Mapping):
            yield f"{name} is {made_of(observation)}, not a dictionary of {', '.join(layout)}"
            return
        for key, part in layout.items():
            if key in observation:
                yield from _complaints(part, observation[key], f"{name}[{key!r}]")
            else:
                yield f"{name} has no {key!r}"
        return
    try:
        array = as_array(observation)
    except ValueError:  # lists of different lengths
        array = np.empty((), object)
    is_exact = layout.dtype.kind != "f" and array.dtype.kind not in "biu"
    if array.shape != layout.shape or array.dtype.kind not in "biuf" or is_exact:
        yield f"{name} is {made_of(observation)}, not {made_of(layout)}"


def _layers(env: AnyEnv) -> Iterator[AnyEnv]:
    """The environment and what it wraps, from the outside in."""
    yield env
    while isinstance(env, (gymnasium.Wrapper, VectorWrapper)):
        env = env.env
        yield env


def _error(env: AnyEnv, method: str, message: str, hint: str) -> ExperimentError:
    """At the outermost definition of the method that is not a library's."""
    places = (written(getattr(type(layer), method, None)) for layer in _layers(env))
    return ExperimentError([Fault(message, next(filter(None, places), None), hint)])
