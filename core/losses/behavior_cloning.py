"""Behaviour cloning from demonstrations."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import nn

from ..batch import Memory, masked_mean
from ..demonstrations import DemonstrationBatch
from ..distributions import as_action_distribution
from .loss import OffPolicyLossOutput


@dataclass(frozen=True)
class BehaviorCloning:
    """Negative log-likelihood of demonstrated actions: cross-entropy for discrete ones (Pomerleau 1991).

    An off-policy loss for `OffPolicyPipelineComponent`; it reads batches such as `MinariSequences` gives. A recurrent
    model's memory goes on from batch to batch, and the gradient reaches back to the beginning of the batch.

    Parts: cross_entropy; accuracy, the share of steps where the model's most probable action is the demonstrated one (0
    for continuous actions).
    """

    def __call__(
        self, model: nn.Module, batch: DemonstrationBatch, memory: Memory, stage_steps: int
    ) -> OffPolicyLossOutput:
        distribution, _, memory = model(batch["observations"], memory, batch["masks"])
        distribution, actions = as_action_distribution(distribution), batch["actions"]
        loss = -masked_mean(distribution.log_prob(actions), batch["valid"])
        with torch.no_grad():
            same = distribution.mode() == actions
            same = same.all(dim=2) if same.dim() > 2 else same
            accuracy = masked_mean(same.float(), batch["valid"])
        info = {"cross_entropy": loss, "accuracy": accuracy}
        return OffPolicyLossOutput(loss, info, memory, int(batch["valid"].sum()))
