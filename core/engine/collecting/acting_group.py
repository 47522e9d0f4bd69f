"""ActingGroup: environments that are stepped together, the actor for them, and the model's memory of them."""

from __future__ import annotations

import numpy as np
import torch
from torch import nn

from ..environments import Environments, EpisodeEnd, to_environment
from ..learning.compiler import Compiler
from .acting import actor_of, initial_memory
from .rollout import Columns, Rollout


class ActingGroup:
    """Some of a collector's environments, which take their steps while others are acted for.

    * part: where they lie among all. compiler: see `RecordedActor`. memory: the model's, (n, …) or None.
    """

    def __init__(
        self,
        environments: Environments,
        part: slice,
        model: nn.Module,
        device: torch.device,
        compiler: Compiler,
    ) -> None:
        self.environments, self.part, self.model, self.device = environments, part, model, device
        self.memory = initial_memory(model, environments.num_envs, device)
        self._to_environment = to_environment(environments.action_space)
        self.use_actor(compiler)

    def use_actor(self, compiler: Compiler) -> None:
        """Act with the fastest actor that there is."""
        self.actor = actor_of(self.model, self.environments.num_envs, self.device, compiler)

    def write_to(self, rollout: Rollout) -> None:
        """From the next rollout on into this memory."""
        self.columns: Columns = rollout.columns(self.part)

    def begin(self, noise: np.ndarray) -> None:
        """A rollout begins; noise: for the actions of all environments, (T, N, n)."""
        self.actor.begin(np.ascontiguousarray(noise[:, self.part]), self.device)

    def act(self, t: int) -> None:
        """Choose the actions of step t."""
        self.columns.host_actions[t], self.memory = self.actor.act(self.columns, t, self.memory)

    def begin_step(self, t: int) -> None:
        """Let the environments begin to take these actions."""
        self.environments.begin_step(self._to_environment(self.columns.host_actions[t]))

    def end_step(self, t: int) -> list[EpisodeEnd]:
        """Wait until they have taken them. Gives the ends of episodes, with indices among all environments."""
        row = self.columns.rows[t]
        ends = self.environments.end_step(row)
        # after a step that an autoreset inserted the episode begins, whatever the model saw in between
        self.columns.host_masks[t + 1] = row.valid
        return [end.shifted(self.part.start) for end in ends]
