"""Ready losses, one a file. To write your own: a callable (batch, model output) -> LossOutput."""

from .a2c import A2C
from .behavior_cloning import BehaviorCloning
from .imitation import Imitation
from .loss import Loss, LossOutput, OffPolicyLoss, OffPolicyLossOutput
from .ppo import PPO

__all__ = ["A2C", "PPO", "BehaviorCloning", "Imitation", "Loss", "LossOutput", "OffPolicyLoss", "OffPolicyLossOutput"]
