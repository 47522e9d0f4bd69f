"""Evaluation: a model plays episodes with fixed seeds, and nothing else is disturbed."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import nn

from ..distributions import as_action_distribution, number_of_parameters, sampling_noise
from ..experiment import EnvironmentSource
from ..tree import map_tree
from .acting import Actor
from .collector import initial_memory
from .environments import Environments, Episode, Row, allocate, build_environments, observation_layout, to_environment
from .failures import FailureBudget
from .seeding import set_seed, stream, untouched_global_random_state

MOST_ENVIRONMENTS = 32


class EvaluationStopped(Exception):  # noqa: N818 nothing went wrong
    """Somebody asked to stop while episodes were being played."""


class Summary(NamedTuple):
    """Mean of a metric over episodes, and the 95 % confidence interval of that mean (bootstrap)."""

    mean: float
    ci95: tuple[float, float]


def evaluate(
    model: nn.Module,
    environment: EnvironmentSource,
    episodes: int,
    seed: int,
    device: torch.device,
    deterministic: bool = True,
    stop_requested: Callable[[], bool] = lambda: False,
) -> list[Episode]:
    """Play this many episodes. The same arguments give the same episodes, whatever else draws random numbers.

    deterministic: take the most probable action; False: sample. An episode in which the environment fails is played
    anew; raises EnvironmentFailure if that happens too often. stop_requested: asked at each step; True raises
    EvaluationStopped.
    """
    num_envs = min(episodes, MOST_ENVIRONMENTS)
    with untouched_global_random_state():
        set_seed(seed)  # environments may draw from any of the global generators
        environments = build_environments(environment, range(num_envs), seed, "evaluation")
        was_training = model.training
        try:
            return _play(model.eval(), environments, episodes, seed, device, deterministic, stop_requested)
        finally:
            model.train(was_training)
            environments.close()


@torch.inference_mode()
def _play(
    model: nn.Module,
    environments: Environments,
    episodes: int,
    seed: int,
    device: torch.device,
    deterministic: bool,
    stop_requested: Callable[[], bool],
) -> list[Episode]:
    n = environments.num_envs
    # each environment has its own number of episodes to play: taking the first to finish would favour short ones
    left = np.array([episodes // n + (index < episodes % n) for index in range(n)])
    observations = allocate(observation_layout(environments.observation_space), n)
    row = Row(np.zeros(n, np.float32), np.zeros(n, bool), np.zeros(n, bool), np.ones(n, bool), observations)
    act, policy = to_environment(environments.action_space), Actor(model).policy
    noise = stream(seed, "evaluation actions")
    shape = (1, n, number_of_parameters(environments.action_space))
    memory = initial_memory(model, n, device)
    masks = torch.zeros(1, n, device=device)
    played: list[Episode] = []
    failures, steps = FailureBudget(), 0
    environments.reset(observations)
    while left.any():
        if stop_requested():
            raise EvaluationStopped
        shown = map_tree(lambda leaf: torch.from_numpy(leaf[None]).to(device), observations)
        distribution, memory = policy(shown, memory, masks)
        distribution = as_action_distribution(distribution)
        if deterministic:
            actions = distribution.mode()
        else:
            draw = sampling_noise(environments.action_space, noise, n).reshape(shape)
            actions = distribution.sample(torch.from_numpy(draw).to(device))
        row.terminated[:], row.truncated[:], row.valid[:] = False, False, True
        ends = environments.step(act(actions[0].numpy(force=True)), row)
        masks = torch.from_numpy(row.valid[None].astype(np.float32)).to(device)
        steps += n
        failures.note((failure for end in ends for failure in end.failures), steps)
        for end in ends:
            masks[0, end.environment] = 0.0
            if end.episode is not None and left[end.environment] > 0:
                left[end.environment] -= 1
                played.append(end.episode)
    return played


def summarize(episodes: Sequence[Episode]) -> dict[str, Summary]:
    """ "return", "length" and every metric of the episodes -> its mean and confidence interval."""
    return {name: _summary(values) for name, values in values_of(episodes).items()}


def values_of(episodes: Sequence[Episode]) -> dict[str, np.ndarray]:
    """ "return", "length" and every metric -> its values, of the episodes that have it."""
    rows = [{"return": e.episode_return, "length": float(e.length), **e.metrics} for e in episodes]
    names = dict.fromkeys(name for row in rows for name in row)
    return {name: np.array([row[name] for row in rows if name in row]) for name in names}


def _summary(values: np.ndarray) -> Summary:
    resampled = stream(0, "bootstrap").choice(values, (2000, len(values))).mean(axis=1)
    low, high = np.percentile(resampled, [2.5, 97.5])
    return Summary(float(values.mean()), (float(low), float(high)))
