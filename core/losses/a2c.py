"""Advantage actor-critic."""

from __future__ import annotations

import math
from dataclasses import dataclass

from ..batch import Batch
from ..distributions import as_action_distribution
from ..errors import refuse_arguments
from ..model import ActorCriticOutput
from ..settings import number_fault
from .loss import LossOutput


@dataclass(frozen=True)
class A2C:
    """Advantage actor-critic, the synchronous form of A3C (Mnih et al. 2016, https://arxiv.org/abs/1602.01783).

    * value_coefficient: weight of the value error, ≥ 0.
    * entropy_coefficient: weight of the entropy bonus, ≥ 0.
    * normalize_advantage: use advantages of mean 0 and standard deviation 1 over the rollout; the paper does not.

    The rollout should be used once: `update_repeats=1, num_mini_batch=1`. Parts: policy, value.
    Diagnostics: entropy.
    """

    value_coefficient: float = 0.5
    entropy_coefficient: float = 0.01
    normalize_advantage: bool = False

    def __post_init__(self) -> None:
        refuse_arguments(
            "A2C",
            value_coefficient=number_fault("value_coefficient", self.value_coefficient, False, 0, math.inf, True),
            entropy_coefficient=number_fault("entropy_coefficient", self.entropy_coefficient, False, 0, math.inf, True),
        )

    def __call__(self, batch: Batch, output: ActorCriticOutput) -> LossOutput:
        distribution = as_action_distribution(output.distribution)
        advantages = batch.normalized_advantages if self.normalize_advantage else batch.advantages
        policy = batch.mean(-advantages * distribution.log_prob(batch.actions))
        value = batch.mean(0.5 * (output.values - batch.returns).square())
        entropy = batch.mean(distribution.entropy())
        return LossOutput(
            policy + self.value_coefficient * value - self.entropy_coefficient * entropy,
            {"policy": policy, "value": value},
            {"entropy": entropy},
        )
