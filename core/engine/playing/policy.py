"""Policy: a trained model for one's own scripts, which acts in one environment at a time."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import torch
from torch import nn

from ...distributions import as_action_distribution, sampling_noise
from ...tree import map_tree
from ..collecting.acting import initial_memory
from ..environments import allocate, build_environments, observation_layout, to_environment, writer
from ..saving.checkpoint_choice import choose
from ..saving.from_checkpoint import TrainedModel, open_model
from ..seeding import stream, untouched_global_random_state


class Policy:
    """Acts in one environment, and remembers the episode so far if its model has a memory.

    * observation_space, action_space: of that environment.
    * value: what the model expects of the rest of the episode (discounted), as of the last `act`; NaN before.
    """

    def __init__(
        self,
        model: nn.Module,
        observation_space: gymnasium.Space[Any],
        action_space: gymnasium.Space[Any],
        device: torch.device,
        deterministic: bool = True,
        seed: int = 0,
    ) -> None:
        self.model, self.device, self.deterministic = model.eval(), device, deterministic
        self.observation_space, self.action_space = observation_space, action_space
        self._layout = observation_layout(observation_space)
        self._write = writer(self._layout)
        self._to_environment = to_environment(action_space)
        self._noise = stream(seed, "policy")
        self.reset()

    def reset(self) -> None:
        """An episode begins: forget the one before."""
        self._memory = initial_memory(self.model, 1, self.device)
        self._mask = torch.zeros(1, 1, device=self.device)
        self.value = float("nan")

    @torch.inference_mode()
    def act(self, observation: Any) -> Any:
        """The action for the environment's next observation, as `env.step` takes it."""
        shown = allocate(self._layout, 1)
        self._write(shown, 0, observation)
        tensors = map_tree(lambda leaf: torch.from_numpy(leaf[None]).to(self.device), shown)
        output = self.model(tensors, self._memory, self._mask)
        distribution, self._memory = as_action_distribution(output[0]), output[2]
        self._mask = torch.ones(1, 1, device=self.device)
        self.value = float(output[1])
        return self._to_environment(self._chosen(distribution)[0].numpy(force=True))[0]

    def _chosen(self, distribution: Any) -> torch.Tensor:
        if self.deterministic:
            mode: torch.Tensor = distribution.mode()
            return mode
        noise: np.ndarray = sampling_noise(self.action_space, self._noise, 1)
        drawn: torch.Tensor = distribution.sample(torch.from_numpy(noise)[None].to(self.device))
        return drawn


def load_policy(checkpoint: str | Path, device: str = "cpu", deterministic: bool = True, seed: int = 0) -> Policy:
    """The policy of a run (its newest valid checkpoint) or of a checkpoint, e.g. "runs/first@best".

        policy = load_policy("runs/first")
        observation, _ = env.reset()
        policy.reset()
        action = policy.act(observation)

    * deterministic: the most probable action; False: one drawn at random, which follows from the seed.

    The experiment's copy in the run directory is imported; nothing is unpickled. The caller's random streams and number
    of threads stay as they are. Raises `CheckpointError` for a damaged one or none.
    """
    threads = torch.get_num_threads()
    try:
        with untouched_global_random_state():
            return policy_of(open_model(choose(Path(checkpoint)), device), deterministic, seed)
    finally:
        torch.set_num_threads(threads)


def policy_of(opened: TrainedModel, deterministic: bool = True, seed: int = 0) -> Policy:
    """The policy of an opened checkpoint, for the environments of its stage."""
    probe = build_environments(opened.environment, range(1), 0, "probe")
    try:
        spaces = probe.observation_space, probe.action_space
    finally:
        probe.close()
    return Policy(opened.model, *spaces, opened.device, deterministic, seed)
