"""Evaluation: a model plays episodes with fixed seeds, and nothing else is disturbed."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import nn

from ...distributions import as_action_distribution, number_of_parameters, sampling_noise
from ...experiment import EnvironmentSource
from ...models.numpy_policy import NumpyPolicy
from ...tree import Tree, map_tree
from ..collecting.acting import Actor, initial_memory
from ..collecting.failures import FailureBudget
from ..environments import Environments, Episode, Row, allocate, build_environments, observation_layout, to_environment
from ..seeding import set_seed, stream, untouched_global_random_state

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
            kind = _NumpyPlayer if NumpyPolicy.fits(model, num_envs) else _Player
            player = kind(model.eval(), environments, seed, device, deterministic)
            return _play(player, environments, episodes, stop_requested)
        finally:
            model.train(was_training)
            environments.close()


class _Player:
    """Chooses an action for each of n environments, and remembers what the model does."""

    def __init__(
        self, model: nn.Module, environments: Environments, seed: int, device: torch.device, deterministic: bool
    ) -> None:
        self.space, self.n = environments.action_space, environments.num_envs
        self.policy, self.device, self.deterministic = Actor(model).policy, device, deterministic
        self.noise = stream(seed, "evaluation actions")
        self.memory = initial_memory(model, self.n, device)

    @torch.inference_mode()
    def __call__(self, observations: Tree, masks: np.ndarray) -> np.ndarray:
        """observations: tree of (n, …); masks: (n,). Actions (n, …)."""
        shown = map_tree(lambda leaf: torch.from_numpy(leaf[None]).to(self.device), observations)
        found, self.memory = self.policy(shown, self.memory, torch.from_numpy(masks[None]).to(self.device))
        distribution = as_action_distribution(found)
        if self.deterministic:
            return distribution.mode()[0].numpy(force=True)
        return distribution.sample(torch.from_numpy(self.draw()[None]).to(self.device))[0].numpy(force=True)

    def draw(self) -> np.ndarray:
        """Noise (n, …) for one step."""
        return sampling_noise(self.space, self.noise, self.n).reshape(self.n, -1)


class _NumpyPlayer(_Player):
    """The same for a small network on a CPU, which acts here as it does in the training."""

    def __init__(self, model: Any, environments: Environments, seed: int, device: torch.device, deterministic: bool):
        super().__init__(model, environments, seed, device, deterministic)
        self.numpy_policy = NumpyPolicy(model)
        self.none = np.zeros((self.n, number_of_parameters(self.space)), np.float32)

    def __call__(self, observations: Tree, masks: np.ndarray) -> np.ndarray:
        return self.numpy_policy(observations, self.none if self.deterministic else self.draw())


def _play(
    player: _Player, environments: Environments, episodes: int, stop_requested: Callable[[], bool]
) -> list[Episode]:
    n = environments.num_envs
    # each environment has its own number of episodes to play: taking the first to finish would favour short ones
    left = np.array([episodes // n + (index < episodes % n) for index in range(n)])
    observations = allocate(observation_layout(environments.observation_space), n)
    row = Row(np.zeros(n, np.float32), np.zeros(n, bool), np.zeros(n, bool), np.ones(n, bool), observations)
    act = to_environment(environments.action_space)
    masks = np.zeros(n, np.float32)
    played: list[Episode] = []
    failures, steps = FailureBudget(), 0
    environments.reset(observations)
    while left.any():
        if stop_requested():
            raise EvaluationStopped
        actions = act(player(observations, masks))
        row.terminated[:], row.truncated[:], row.valid[:] = False, False, True
        ends = environments.step(actions, row)
        masks = row.valid.astype(np.float32)
        steps += n
        failures.note((failure for end in ends for failure in end.failures), steps)
        for end in ends:
            masks[end.environment] = 0.0
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
