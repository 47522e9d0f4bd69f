"""From what an experiment says of its environments to `Environments`."""

from __future__ import annotations

import inspect
import math
import time
from bdb import BdbQuit
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import gymnasium
from gymnasium.vector import VectorEnv

from ...environment_ids import register_environment
from ...errors import ExperimentError, TrainctlError
from ...experiment import EnvironmentSource
from ...shares import evenly_distributed_ranges
from ..device import cores
from .environments import Environments
from .grouped import GroupedEnvironments
from .processes import ProcessEnvironments
from .serial import SerialEnvironments
from .vector import VectorEnvironments

WORTH_PROCESSES = 300e-6
"""Seconds that a step of all environments must take before processes save more than waiting for them costs."""

WORTH_ISOLATION = 10e-3
"""Seconds from which on it costs next to nothing that this process only waits, and all environments can be replaced."""


class Deal(NamedTuple):
    """processes: children to which environments are dealt. takes_part: this process steps a share too."""

    processes: int
    takes_part: bool


def build_environments(
    source: EnvironmentSource,
    indices: Sequence[int],
    seed: int,
    purpose: str,
    processes: int | None = 0,
    timeout: float = 60.0,
    groups: int = 1,
) -> Environments:
    """Environments with these global indices; their seeds come from (seed, purpose, index).

    * source: an id; something callable that gives a gymnasium.Env; or, if it takes an argument `num_envs`, one that
      gives a VectorEnv. Raises ExperimentError if it fails or gives something else.
    * processes: child processes to which the environments are dealt; 0: none; None: see `fastest_deal`.
    * timeout: seconds after which a child's step counts as hung.
    * groups: how many there are, each of them stepped at its own time; at most one for each environment. Children are
      dealt to them too, at least one to each.
    """
    make = _from_id(source) if isinstance(source, str) else source
    if _takes_num_envs(make):
        if groups > 1:
            raise ExperimentError(
                f"environment_groups={groups}, but {source!r} gives one vector environment, which steps as a whole",
                "leave environment_groups out, or give an environment without an argument num_envs",
            )
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

    groups = min(groups, len(indices))
    chosen = fastest_deal(make_one, len(indices), groups) if processes is None else Deal(processes, takes_part=False)
    children = max(1, chosen.processes // groups)

    def group(own: Sequence[int]) -> Environments:
        if chosen.processes == 0:
            return SerialEnvironments(make_one, own, seed, purpose)
        return ProcessEnvironments(make_one, own, seed, purpose, children, timeout, chosen.takes_part, groups)

    if groups == 1:
        return group(indices)
    parts = evenly_distributed_ranges(len(indices), groups)
    return GroupedEnvironments([group(indices[own.start : own.stop]) for own in parts])


def fastest_deal(make: Callable[[], gymnasium.Env[Any, Any]], num_envs: int, groups: int = 1) -> Deal:
    """One process for each core where a step costs enough, this one among them unless a step costs much; else no child.
    With several groups so many children for each, beside this process, which acts for one while they step the others.

    Measured with a few random steps. The outcome of a training does not depend on it, only its speed.
    """
    processes = min(cores(), num_envs)
    if processes < 2:
        return Deal(0, takes_part=True)
    env = make()
    try:
        cost = _seconds_per_step(env) * num_envs
    except BdbQuit:
        raise
    except Exception:  # it may fail now and then, which a training survives
        cost = 0.0
    finally:
        env.close()
    return deal_for(cost, processes, groups)


def deal_for(cost: float, processes: int, groups: int = 1) -> Deal:
    """How to deal environments whose steps, one after the other, cost so many seconds."""
    if cost < WORTH_PROCESSES:
        return Deal(0, takes_part=True)
    takes_part = groups == 1 and cost < WORTH_ISOLATION
    return Deal(processes * groups - takes_part, takes_part)


def _seconds_per_step(env: gymnasium.Env[Any, Any]) -> float:
    """The least of several short measurements: whatever else the machine does only adds to them."""
    env.reset(seed=0)
    env.action_space.seed(0)
    least, began = math.inf, time.perf_counter()
    for _ in range(20):
        started = time.perf_counter()
        for _ in range(10):
            _, _, terminated, truncated, _ = env.step(env.action_space.sample())
            if terminated or truncated:
                env.reset()
        least = min(least, (time.perf_counter() - started) / 10)
        if time.perf_counter() - began > 0.2:
            break
    return least


def _from_id(environment_id: str) -> Callable[[], gymnasium.Env[Any, Any]]:
    register_environment(environment_id)
    # the checker looks at the first step only; `inspect-pipeline --dry-run` looks more closely
    return lambda: gymnasium.make(environment_id, disable_env_checker=True)


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
