"""Demonstrations: an expert or a trained model plays, and a Minari dataset keeps what it did."""

from __future__ import annotations

import contextlib
import os
import tempfile
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from torch import nn

from ...batch import Memory
from ...demonstrations import import_minari
from ...distributions import as_action_distribution, sampling_noise
from ...errors import ExperimentError, UsageError
from ...experiment import EnvironmentSource
from ...tree import Tree, map_tree
from ..collecting.acting import initial_memory
from ..environments import Episode, allocate, build_environments, observation_layout, to_environment
from ..environments.serial import SerialEnvironments
from ..environments.spaces import writer
from ..environments.tracked import TrackedEnvironment
from ..seeding import stream


class Player(Protocol):
    """Who plays: says what to do in an environment."""

    def action(self, environment: TrackedEnvironment, observation: Any, is_first: bool) -> np.ndarray | None:
        """The action as a policy gives it, or None if there is none. is_first: an episode begins here."""


class ExpertPlayer:
    """The environment's own expert."""

    def action(self, environment: TrackedEnvironment, observation: Any, is_first: bool) -> np.ndarray | None:
        """What the expert says."""
        return environment.expert_action()


class ModelPlayer:
    """A model's policy.

    * deterministic: the most probable action; False: one drawn at random.
    """

    def __init__(self, model: nn.Module, device: torch.device, seed: int, deterministic: bool) -> None:
        self.model, self.device, self.deterministic = model, device, deterministic
        self.noise = stream(seed, "demonstrations")
        self.memory: Memory = None

    @torch.inference_mode()
    def action(self, environment: TrackedEnvironment, observation: Any, is_first: bool) -> np.ndarray:
        """What the model does, remembering the episode so far."""
        if is_first:
            self.memory = initial_memory(self.model, 1, self.device)
        layout = observation_layout(environment.env.observation_space)
        shown = allocate(layout, 1)
        writer(layout)(shown, 0, observation)
        tensors = map_tree(lambda leaf: torch.from_numpy(leaf[None]).to(self.device), shown)
        mask = torch.full((1, 1), float(not is_first), device=self.device)
        distribution, _, self.memory = self.model(tensors, self.memory, mask)
        actions = self._choose(as_action_distribution(distribution), environment.env.action_space)
        chosen: np.ndarray = actions[0, 0].numpy(force=True)
        return chosen

    def _choose(self, distribution: Any, space: Any) -> torch.Tensor:
        if self.deterministic:
            mode: torch.Tensor = distribution.mode()
            return mode
        drawn: torch.Tensor = distribution.sample(
            torch.from_numpy(sampling_noise(space, self.noise, 1))[None].to(self.device)
        )
        return drawn


@dataclass(frozen=True)
class Recording:
    """What was recorded.

    * dataset, path: the name and the directory of the dataset.
    * episodes, steps: how much it holds.
    * left_out: episodes that were not kept because the expert had no action somewhere in them.
    * means: "return", "length" and each metric of the episodes -> its mean.
    """

    dataset: str
    path: Path
    episodes: int
    steps: int
    left_out: int
    means: dict[str, float]


def record_demonstrations(
    environment: EnvironmentSource,
    player: Player,
    episodes: int,
    dataset: str,
    seed: int,
    description: str,
    on_episode: Callable[[int], None] = lambda episodes: None,
) -> Recording:
    """Play this many episodes and write them into a new Minari dataset, which appears when it is complete.

    * dataset: its name, e.g. "doorkey/expert-v0". on_episode: told the number of episodes so far.

    Raises UsageError if there is such a dataset already, or the name is none; ExperimentError if the environment is a
    vector environment, or where the expert is missing or has no action again and again.
    """
    target = new_dataset_path(dataset)
    tracked = _one_environment(environment, seed)
    try:
        with tempfile.TemporaryDirectory(prefix=".recording-", dir=_datasets_root()) as directory, _quiet_minari():
            aside = Path(directory) / "dataset"
            storage = _new_storage(aside / "data", tracked)
            recording = _Recorder(tracked, player, storage).play(episodes, on_episode)
            _publish(aside, target, storage, dataset, description)
    finally:
        tracked.close()
    return Recording(dataset, target, **recording)


def new_dataset_path(dataset: str) -> Path:
    """Where the dataset will be. Raises UsageError if something is there already, or the name is none for a dataset."""
    import_minari()
    from minari.dataset.minari_dataset import parse_dataset_id

    try:
        parse_dataset_id(dataset)
    except (ValueError, TypeError) as error:
        raise UsageError(f"{dataset!r} is no name for a dataset", 'write e.g. "doorkey/expert-v0"') from error
    path = _datasets_root() / dataset
    if path.exists():
        raise UsageError(
            f"there is a dataset {dataset!r} already, in {path}", "it is never overwritten: choose another name"
        )
    return path


class _Recorder:
    """Plays episodes one by one and keeps those in which there was an action at each step."""

    def __init__(self, environment: TrackedEnvironment, player: Player, storage: Any) -> None:
        self.environment, self.player, self.storage = environment, player, storage
        self.act = to_environment(environment.env.action_space)

    def play(self, episodes: int, on_episode: Callable[[int], None]) -> dict[str, Any]:
        """The contents of a `Recording`."""
        kept: list[Episode] = []
        left_out = 0
        while len(kept) < episodes:
            episode = self._episode()
            if episode is None:
                left_out += 1
                if left_out > episodes + 10:
                    found = f"the expert had no action in {left_out} of {left_out + len(kept)} episodes"
                    raise ExperimentError(found, "`trainctl inspect-pipeline --dry-run` shows how good it is")
                continue
            kept.append(episode)
            on_episode(len(kept))
        rows = [{"return": e.episode_return, "length": float(e.length), **e.metrics} for e in kept]
        means = {name: float(np.mean([row[name] for row in rows])) for name in rows[0]}
        return {
            "episodes": len(kept),
            "steps": sum(episode.length for episode in kept),
            "left_out": left_out,
            "means": means,
        }

    def _episode(self) -> Episode | None:
        """One episode, stored; None, and nothing is stored, if the player had no action somewhere in it."""
        environment = self.environment
        observations, over = [environment.reset()], False
        rewards: list[float] = []
        while not over:
            action = self.player.action(environment, observations[-1], is_first=not rewards)
            if action is None:
                return None
            observation, reward, terminated, truncated, info = environment.step(self.act(action[None])[0])
            observations.append(observation)
            rewards.append(float(reward))
            over = terminated or truncated
        self._store(observations, rewards, bool(terminated), bool(truncated))
        return environment.record(info)

    def _store(self, observations: list[Any], rewards: list[float], terminated: bool, truncated: bool) -> None:
        from minari.data_collector.episode_buffer import EpisodeBuffer

        before_the_end = [False] * (len(rewards) - 1)
        episode = EpisodeBuffer(
            seed=self.environment.episode_seed,
            observations=_stacked(observations),
            actions=np.stack(self.environment.actions),
            rewards=np.array(rewards),
            terminations=np.array([*before_the_end, terminated]),
            truncations=np.array([*before_the_end, truncated]),
        )
        self.storage.update_episodes([episode])


def _stacked(observations: list[Any]) -> Tree:
    """Observations one after the other: tree of (L + 1, …)."""
    return map_tree(lambda *steps: np.stack([np.asarray(step) for step in steps]), *observations)


def _one_environment(source: EnvironmentSource, seed: int) -> TrackedEnvironment:
    environments = build_environments(source, range(1), seed, "demonstrations")
    if isinstance(environments, SerialEnvironments):
        return environments.environments[0]
    environments.close()
    raise ExperimentError(
        f"demonstrations are recorded in a gymnasium.Env; {source!r} gives a vector environment",
        "set an environment of its own for the recording, e.g. with --set",
    )


def _new_storage(path: Path, environment: TrackedEnvironment) -> Any:
    from minari.dataset.minari_storage import MinariStorage

    path.parent.mkdir()
    env = environment.env
    # of an environment in wrappers the spec would lead back to another one than was played
    spec = None if env.spec is None or env.spec.additional_wrappers else env.spec
    return MinariStorage.new(
        path,
        observation_space=env.observation_space,
        action_space=env.action_space,
        env_spec=spec,
        jpeg_encoding=False,
    )


def _publish(aside: Path, target: Path, storage: Any, dataset: str, description: str) -> None:
    """Give the finished dataset its name; from now on it is there."""
    import minari
    from minari.dataset.minari_dataset import parse_dataset_id
    from minari.namespace import create_namespace, list_local_namespaces

    about = {"dataset_id": dataset, "minari_version": minari.__version__, "algorithm_name": "trainctl"}
    storage.update_metadata({**about, "description": description, "dataset_size": float(storage.get_size())})
    namespace = parse_dataset_id(dataset)[0]
    if namespace is not None and namespace not in list_local_namespaces():
        create_namespace(namespace)
    target.parent.mkdir(parents=True, exist_ok=True)
    os.rename(aside, target)


def _datasets_root() -> Path:
    """Where Minari keeps its datasets."""
    from minari.storage.datasets_root_dir import get_dataset_path

    return Path(get_dataset_path())


@contextlib.contextmanager
def _quiet_minari() -> Iterator[None]:
    """Within this context Minari does not tell how a dataset should be described for its public collection."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", category=UserWarning, module="minari")
        yield
