"""Rewards divided by the running standard deviation of the discounted return."""

from __future__ import annotations

from typing import Any

import torch

from ..workers.workers import WorkerGroup
from .rollout import Rollout


class RawRewards:
    """Rewards as the environment gives them."""

    def normalize(self, rollout: Rollout, gamma: float, workers: WorkerGroup) -> None:
        """Leave the rewards alone."""

    def state_dict(self) -> dict[str, Any]:
        """Nothing to remember."""
        return {}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Nothing to remember."""


class RewardNormalizer(RawRewards):
    """Rewards scaled so that discounted returns have a standard deviation near 1, clipped to ±10.

    The scheme of OpenAI's baselines (`VecNormalize`): the mean is not subtracted. The statistics are brought up to
    date with a rollout before that rollout is scaled. Episode returns are recorded before scaling.
    """

    clip = 10.0

    def __init__(self) -> None:
        self.discounted: torch.Tensor = torch.zeros(())
        self.moments = torch.zeros(3, dtype=torch.float64)  # count, sum, sum of squares

    def normalize(self, rollout: Rollout, gamma: float, workers: WorkerGroup) -> None:
        """Scale the rollout's rewards in place."""
        rewards, masks = rollout.fields["rewards"], rollout.masks[:-1]
        discounted, returns = self.discounted.to(rewards.device).expand(rollout.num_envs), []
        for reward, mask in zip(rewards, masks, strict=True):
            discounted = gamma * discounted * mask + reward
            returns.append(discounted)
        self.discounted = discounted
        data = torch.stack(returns)[rollout.fields["valid"]].double()
        moments = torch.stack([torch.full_like(data.sum(), len(data)), data.sum(), data.square().sum()])
        workers.sum_tensors([moments])
        self.moments = self.moments + moments.cpu()
        count, total, total_squared = self.moments.tolist()
        count = max(count, 1.0)  # 0 where no step so far was data
        variance = max(total_squared / count - (total / count) ** 2, 0.0)
        rewards.div_((variance + 1e-8) ** 0.5).clamp_(-self.clip, self.clip)

    def state_dict(self) -> dict[str, Any]:
        """The running moments (of all workers) and each environment's discounted return so far."""
        return {"moments": self.moments, "discounted": self.discounted}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue with these."""
        self.moments, self.discounted = state["moments"], state["discounted"]
