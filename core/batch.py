"""Batch: what a loss sees of a rollout."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias

import torch
from torch import Tensor

from .tree import Tree

Memory: TypeAlias = Tensor | None
"""What a model with memory carries from step to step: one tensor (B, …), or None for a model without."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Batch:
    """Steps of a rollout: T consecutive steps of B environments, or T = 1 and B shuffled steps for models without
    memory.

    * observations: tree of (T, B, …).
    * memory: (B, …), the memory before the first of the T steps; None for a model without memory.
    * masks: (T, B) float; 0 where an episode begins at that step (the memory before it does not count), else 1.
    * actions: (T, B) for Discrete, (T, B, k) for MultiDiscrete and Box: the actions that were executed.
    * log_probs: (T, B), of the executed actions under the policy that collected them.
    * values: (T, B), the value estimates at that time.
    * advantages: (T, B); normalized_advantages: the same, with mean 0 and standard deviation 1 over the rollout of
      all workers.
    * returns: (T, B), what the value should be.
    * valid: (T, B) bool, False where a step is no data (inserted by an autoreset or by an environment that failed);
      None: all steps are data.
    * expert_actions: like actions; has_expert: (T, B) bool, False where the expert had no action. Both None in
      stages that need no expert.
    * teacher_forced: (T, B) bool, True where the expert's action was executed in place of the agent's; None
      without teacher forcing.
    * stage_steps: steps taken in the stage, those of this rollout included.
    """

    observations: Tree
    memory: Memory
    masks: Tensor
    actions: Tensor
    log_probs: Tensor
    values: Tensor
    advantages: Tensor
    normalized_advantages: Tensor
    returns: Tensor
    stage_steps: int
    valid: Tensor | None = None
    expert_actions: Tensor | None = None
    has_expert: Tensor | None = None
    teacher_forced: Tensor | None = None

    @property
    def size(self) -> int:
        """How many steps are data."""
        return self.actions.shape[0] * self.actions.shape[1] if self.valid is None else int(self.valid.sum())

    def scheduled(self, function: Callable[[int], float]) -> float | Tensor:
        """function(stage_steps): a number, or where a recording or graph of the loss takes it as an input a scalar of
        float64.

        A loss that asks here and never for `stage_steps` can be recorded and compiled, which makes learning faster.
        """
        return float(function(self.stage_steps))

    def mean(self, values: Tensor) -> Tensor:
        """The mean of values (T, B) over the steps that are data; 0 if there are none."""
        if self.valid is None:
            return values.mean()
        return masked_mean(values, self.valid)


def masked_mean(values: Tensor, mask: Tensor) -> Tensor:
    """The mean of the values where the mask (bool, of the same shape) is True; 0 where it is nowhere."""
    # where, not multiplication: 0 × inf would be nan
    return torch.where(mask, values, 0.0).sum() / mask.sum().clamp(min=1)
