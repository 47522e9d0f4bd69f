"""Proximal policy optimization."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from ..batch import Batch
from ..distributions import as_action_distribution
from ..errors import refuse_arguments
from ..model import ActorCriticOutput
from ..settings import number_fault
from .loss import LossOutput


def clipped_surrogate(ratio: Tensor, advantages: Tensor, clip_range: float | Tensor) -> Tensor:
    """PPO's objective for each sample, to be minimised (Schulman et al. 2017, equation 7, negated).

    ratio: π_new(a|s) / π_old(a|s); advantages: of the same shape. Returns that shape.
    """
    gain = advantages * ratio
    with torch.no_grad():  # the minimum of both, without the many operations that torch.minimum and clamp need backward
        clipped = advantages * ratio.clamp(1 - clip_range, 1 + clip_range)  # type: ignore[arg-type]
    return -torch.where(clipped < gain, clipped, gain)


def clipped_value_error(values: Tensor, old_values: Tensor, returns: Tensor, clip_range: float | Tensor) -> Tensor:
    """Half the squared error of the value, the larger of clipped and not (as in OpenAI's baselines `ppo2`).

    All of one shape. The clipped value stays within clip_range of the value at collection time.
    """
    clipped = old_values + (values - old_values).clamp(-clip_range, clip_range)  # type: ignore[arg-type]
    return 0.5 * torch.maximum((values - returns).square(), (clipped - returns).square())


@dataclass(frozen=True)
class PPO:
    """PPO with a clipped objective (https://arxiv.org/abs/1707.06347), with the details of the field's standard
    implementations (Huang et al. 2022, "The 37 implementation details of PPO"): advantages normalised, squared value
    error with optional clipping, entropy bonus.

    * clip_range: how far the probability ratio may leave 1, > 0.
    * clip_decay: function of the stage's steps that multiplies clip_range; None: constant.
    * value_coefficient: weight of the value error, ≥ 0.
    * entropy_coefficient: weight of the entropy bonus, ≥ 0.
    * clip_value: clip the value's change by clip_range too (OpenAI's baselines do; often of no use).
    * normalize_advantage: use advantages of mean 0 and standard deviation 1 over the rollout.

    Parts: policy, value. Diagnostics: entropy, approx_kl (Schulman's low-variance estimate (r − 1) − log r),
    clip_fraction (share of samples whose ratio left the range).
    """

    clip_range: float = 0.2
    clip_decay: Callable[[int], float] | None = None
    value_coefficient: float = 0.5
    entropy_coefficient: float = 0.01
    clip_value: bool = False
    normalize_advantage: bool = True

    def __post_init__(self) -> None:
        refuse_arguments(
            "PPO",
            clip_range=number_fault("clip_range", self.clip_range, False, 0, math.inf, False),
            value_coefficient=number_fault("value_coefficient", self.value_coefficient, False, 0, math.inf, True),
            entropy_coefficient=number_fault("entropy_coefficient", self.entropy_coefficient, False, 0, math.inf, True),
        )

    def __call__(self, batch: Batch, output: ActorCriticOutput) -> LossOutput:
        distribution = as_action_distribution(output.distribution)
        clip_range = self.clip_range * (batch.scheduled(self.clip_decay) if self.clip_decay else 1.0)
        log_ratio = distribution.log_prob(batch.actions) - batch.log_probs
        ratio = log_ratio.exp()
        advantages = batch.normalized_advantages if self.normalize_advantage else batch.advantages
        if self.clip_value:
            value_error = clipped_value_error(output.values, batch.values, batch.returns, clip_range)
        else:
            value_error = 0.5 * F.mse_loss(output.values, batch.returns, reduction="none")
        policy = batch.mean(clipped_surrogate(ratio, advantages, clip_range))
        value = batch.mean(value_error)
        entropy = batch.mean(distribution.entropy())
        with torch.no_grad():
            approx_kl = batch.mean(ratio - 1 - log_ratio)
            clip_fraction = batch.mean(((ratio - 1).abs() > clip_range).float())
        total = torch.add(policy, value, alpha=self.value_coefficient)
        return LossOutput(
            torch.sub(total, entropy, alpha=self.entropy_coefficient),
            {"policy": policy, "value": value},
            {"entropy": entropy, "approx_kl": approx_kl, "clip_fraction": clip_fraction},
        )
