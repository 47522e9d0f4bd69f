"""Ready losses, and what trainctl asks of a loss."""

from __future__ import annotations

from .core.losses import A2C, PPO, BehaviorCloning, Imitation, Loss, LossOutput, OffPolicyLoss, OffPolicyLossOutput

__all__ = ["A2C", "PPO", "BehaviorCloning", "Imitation", "Loss", "LossOutput", "OffPolicyLoss", "OffPolicyLossOutput"]
