"""MinariSequences: demonstrations of a Minari dataset as batches for off-policy losses."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, TypedDict

import gymnasium
import numpy as np
import torch
from gymnasium import spaces
from torch import Tensor

from .errors import ExperimentError, did_you_mean, refuse_arguments
from .settings import number_fault
from .tree import Tree, leaves, map_tree


class DemonstrationBatch(TypedDict):
    """T consecutive steps of B sequences. The next batch goes on where this one ends, in each sequence.

    * observations: tree of (T, B, …).
    * actions: (T, B) for Discrete, (T, B, k) for the others, as a model's distribution knows them.
    * rewards: (T, B) float.
    * masks: (T, B) float; 0 where an episode begins at that step, else 1.
    * valid: (T, B) bool; False where a sequence is over because the data are.
    """

    observations: Tree
    actions: Tensor
    rewards: Tensor
    masks: Tensor
    valid: Tensor


class MinariSequences:
    """One pass through a Minari dataset (https://minari.farama.org) on this machine, in shuffled sequences.

    A sequence is one episode after another. An episode is never left before its end, so a model's memory can be handed
    from batch to batch. Each episode is seen once in a pass, by one worker. Nothing is downloaded.

    * dataset: the dataset's name, e.g. "doorkey/expert-v0"; it lies in MINARI_DATASETS_PATH, or where Minari puts it.
    * num_steps: steps of a batch, ≥ 1: how far a recurrent model is trained back in time.
    * num_sequences: sequences side by side in a batch, ≥ 1; no more than there are episodes.
    * seed: of the order of the episodes; None: as they were recorded.
    * worker, num_workers: this worker's rank and how many there are; see `share_of_worker`.

    Raises `ExperimentError` if there is no such dataset, or it has fewer episodes than there are workers.
    """

    def __init__(
        self,
        dataset: str,
        num_steps: int = 32,
        num_sequences: int = 16,
        seed: int | None = None,
        worker: int = 0,
        num_workers: int = 1,
    ) -> None:
        for name, value in (("num_steps", num_steps), ("num_sequences", num_sequences)):
            refuse_arguments("MinariSequences", **{name: number_fault(name, value, True, 1, float("inf"), True)})
        self.data = load_dataset(dataset)
        self.observation_space: gymnasium.Space[Any] = self.data.observation_space
        self.action_space: gymnasium.Space[Any] = self.data.action_space
        own = np.asarray(self.data.episode_indices)[worker::num_workers]
        if not len(own):
            found = f"the dataset {dataset!r} has {len(self.data)} episodes for {num_workers} workers"
            raise ExperimentError(found, "each worker needs at least one: record more, or use fewer workers")
        self.order = own if seed is None else np.random.default_rng(seed).permutation(own)
        self.num_steps = num_steps
        path = Path(self.data.storage.data_path)
        self._version = f"{path} {(path / 'metadata.json').stat().st_mtime_ns}"
        self._taken = 0
        self._unread = self._read(self.order.tolist())
        self._lanes = [_Lane() for _ in range(min(num_sequences, len(own)))]

    def __iter__(self) -> Iterator[DemonstrationBatch]:
        return self

    def __next__(self) -> DemonstrationBatch:
        if not any(self._has_steps(lane) for lane in self._lanes):
            raise StopIteration
        shape = (self.num_steps, len(self._lanes))
        example = next(lane.episode for lane in self._lanes if lane.left)
        batch = map_tree(lambda leaf: np.zeros((*shape, *leaf.shape[1:]), leaf.dtype), example)
        for column, lane in enumerate(self._lanes):
            self._fill(batch, column, lane)
        tensors: DemonstrationBatch = map_tree(torch.from_numpy, batch)
        return tensors

    def _fill(self, batch: Tree, column: int, lane: _Lane) -> None:
        """Write the next steps of a sequence into a column of the batch."""
        step = 0
        while step < self.num_steps and self._has_steps(lane):
            count = min(lane.left, self.num_steps - step)
            rows, there = slice(step, step + count), slice(lane.position, lane.position + count)
            map_tree(lambda to, of, rows=rows, there=there: np.copyto(to[rows, column], of[there]), batch, lane.episode)
            lane.position += count
            step += count

    def _has_steps(self, lane: _Lane) -> bool:
        """Whether the sequence goes on, if need be with the next episode."""
        if not lane.left and self._taken < len(self.order):
            lane.begin(int(self.order[self._taken]), next(self._unread))
            self._taken += 1
        return lane.left > 0

    def _read(self, indices: Sequence[int]) -> Iterator[Tree]:
        """The episodes, read one by one as they are asked for; those that were read in an earlier pass are kept."""
        unread = self.data.iterate_episodes(index for index in indices if (self._version, index) not in _kept.episodes)
        for index in indices:
            key = (self._version, index)
            episode = _kept.episodes.get(key)
            if episode is None:
                episode = self._arrays(next(unread))
                _kept.add(key, episode)
            yield episode

    def _arrays(self, episode: Any) -> Tree:
        """An episode as a batch has it, but (L, …) instead of (T, B, …)."""
        length = len(episode.rewards)
        return {
            "observations": map_tree(lambda leaf: _float32(leaf)[:length], episode.observations),
            "actions": policy_actions(self.action_space, episode.actions),
            "rewards": np.asarray(episode.rewards, np.float32),
            "masks": np.minimum(np.arange(length), 1).astype(np.float32),
            "valid": np.ones(length, bool),
        }

    def state_dict(self) -> dict[str, Any]:
        """How many episodes were begun, and where in which episode each sequence is."""
        return {"taken": self._taken, "lanes": [[lane.index, lane.position] for lane in self._lanes]}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from there, in an iterator made with the same arguments."""
        self._taken = state["taken"]
        self._unread = self._read(self.order[self._taken :].tolist())
        begun = self._read([index for index, _ in state["lanes"] if index >= 0])
        for lane, (index, position) in zip(self._lanes, state["lanes"], strict=True):
            if index >= 0:
                lane.begin(index, next(begun))
                lane.position = position


class _KeptEpisodes:
    """Episodes of all datasets that were read, while there is room: HDF5 takes milliseconds for each.

    * room: bytes that are left.
    """

    def __init__(self, room: int) -> None:
        self.room = room
        self.episodes: dict[tuple[str, int], Tree] = {}

    def add(self, key: tuple[str, int], episode: Tree) -> None:
        """Keep an episode if it still fits."""
        size = sum(leaf.nbytes for leaf in leaves(episode))
        if size <= self.room:
            self.room -= size
            self.episodes[key] = episode


_kept = _KeptEpisodes(room=2**30)


class _Lane:
    """One sequence: the episode it is in and the next step there."""

    def __init__(self) -> None:
        self.index, self.position = -1, 0
        self.episode: Tree = {"valid": np.zeros(0, bool)}

    @property
    def left(self) -> int:
        """Steps of the episode that are still to come."""
        return len(self.episode["valid"]) - self.position

    def begin(self, index: int, episode: Tree) -> None:
        """Enter an episode of the dataset."""
        self.index, self.episode, self.position = index, episode, 0


def share_of_worker(cur_worker: int, rollouts_per_worker: list[int], seed: int | None) -> dict[str, Any]:
    """The `data_iterator_kwargs_generator` of `MinariSequences`: each worker its own episodes, each epoch its order."""
    return {"worker": cur_worker, "num_workers": len(rollouts_per_worker), "seed": seed}


def load_dataset(name: str) -> Any:
    """The `minari.MinariDataset` of this name on this machine. Raises `ExperimentError` if it is not there."""
    minari = import_minari()
    try:
        return minari.load_dataset(name, download=False)
    except (FileNotFoundError, ValueError, TypeError) as error:  # TypeError: what Minari makes of a name without "-v0"
        known = did_you_mean(name, minari.list_local_datasets())
        raise ExperimentError(
            f"there is no Minari dataset {name!r} on this machine; {known}",
            f"make it with: trainctl record-demonstrations EXPERIMENT.py --episodes 500 --output {name}",
        ) from error


def import_minari() -> Any:
    """The module `minari`. Raises `ExperimentError` if it is not installed."""
    try:
        import minari
    except ImportError as error:
        raise ExperimentError(
            f"demonstrations are kept in Minari datasets: {error}", "install it: pip install 'trainctl[demos]'"
        ) from error
    return minari


def policy_actions(space: gymnasium.Space[Any], actions: Any) -> np.ndarray:
    """Actions (T, …) of an environment as a policy gives them: (T,) from 0 on for Discrete, (T, k) for the others."""
    array = np.asarray(actions)
    if isinstance(space, spaces.Discrete):
        return array.astype(np.int64).reshape(-1) - int(space.start)
    if isinstance(space, spaces.MultiDiscrete):
        array = array - space.start
    return array.reshape(len(array), -1).astype(np.float32 if isinstance(space, spaces.Box) else np.int64)


def _float32(leaf: Any) -> np.ndarray:
    array = np.asarray(leaf)
    return array.astype(np.float32, copy=False) if np.issubdtype(array.dtype, np.floating) else array
