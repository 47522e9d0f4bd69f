"""From what an experiment says of its environments to `Environments`."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from typing import Any

import gymnasium
from gymnasium.vector import VectorEnv

from ...errors import ExperimentError, TrainctlError
from ...experiment import EnvironmentSource
from .environments import Environments
from .serial import SerialEnvironments
from .vector import VectorEnvironments


def build_environments(
    source: EnvironmentSource, indices: Sequence[int], seed: int, purpose: str = "environment"
) -> Environments:
    """Environments with these global indices; their seeds come from (seed, purpose, index).

    source: an id; something callable that gives a gymnasium.Env; or, if it takes an argument `num_envs`, one that
    gives a VectorEnv. Raises ExperimentError if it fails or gives something else.
    """
    make = (lambda: gymnasium.make(source, disable_env_checker=True)) if isinstance(source, str) else source
    if _takes_num_envs(make):
        vector = _call(make, source, num_envs=len(indices))
        if not isinstance(vector, VectorEnv):
            raise _wrong_type(source, vector, "a gymnasium.vector.VectorEnv, since it takes num_envs")
        if vector.num_envs != len(indices):
            raise ExperimentError(f"{source!r} was asked for {len(indices)} environments and gave {vector.num_envs}")
        return VectorEnvironments(vector, indices[0], seed, purpose)

    def make_one() -> gymnasium.Env:
        env = _call(make, source)
        if not isinstance(env, gymnasium.Env):
            raise _wrong_type(source, env, "a gymnasium.Env")
        return env

    return SerialEnvironments(make_one, indices, seed, purpose)


def _takes_num_envs(make: Callable[..., Any]) -> bool:
    function = getattr(make, "class_type", make)
    try:
        return "num_envs" in inspect.signature(function).parameters
    except (TypeError, ValueError):
        return False


def _call(make: Callable[..., Any], source: EnvironmentSource, **arguments: Any) -> Any:
    try:
        return make(**arguments)
    except TrainctlError:
        raise
    except Exception as error:
        raise ExperimentError(f"the environment {source!r} cannot be built: {type(error).__name__}: {error}") from error


def _wrong_type(source: EnvironmentSource, found: Any, wanted: str) -> ExperimentError:
    return ExperimentError(
        f"the environment {source!r} gave {found!r} ({type(found).__name__}), not {wanted}",
        "trainctl speaks gymnasium's API; old gym environments can be wrapped with shimmy",
    )
