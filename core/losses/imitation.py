"""Imitation of an expert."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from ..batch import Batch, masked_mean
from ..distributions import as_action_distribution
from ..errors import TrainctlError
from ..model import ActorCriticOutput
from .loss import LossOutput


@dataclass(frozen=True)
class Imitation:
    """Negative log-likelihood of the expert's actions: cross-entropy for discrete actions (behaviour cloning;
    with teacher forcing that decays from 1 to 0 it is DAgger, Ross et al. 2011, https://arxiv.org/abs/1011.0686).

    The mean is over the steps where the expert has an action. Where it never has one the loss is 0.
    Parts: expert_cross_entropy, expert_available (share of steps with an expert action).
    """

    needs_expert = True

    def __call__(self, batch: Batch, output: ActorCriticOutput) -> LossOutput:
        if batch.expert_actions is None or batch.has_expert is None:
            raise TrainctlError("the Imitation loss got a batch without expert actions")
        available = batch.has_expert if batch.valid is None else batch.has_expert & batch.valid
        log_probs = as_action_distribution(output.distribution).log_prob(batch.expert_actions)
        loss = -masked_mean(log_probs, available)
        return LossOutput(
            loss, {"expert_cross_entropy": loss, "expert_available": batch.mean(available.to(torch.float32))}
        )
