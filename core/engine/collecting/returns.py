"""Returns and advantages as pure functions of arrays (T, N)."""

from __future__ import annotations

import torch
from torch import Tensor


def next_values(
    values: Tensor, bootstrap_value: Tensor, terminated: Tensor, truncated: Tensor, final_values: Tensor
) -> Tensor:
    """The value of what comes after each step.

    values (T, N): of the observation each action was chosen on. bootstrap_value (N,): of the observation after the
    last step. terminated, truncated (T, N) bool; where both are True, terminated counts. final_values (T, N): of the
    last observation of each episode that was truncated at that step, anything elsewhere.

    Returns (T, N): 0 after a terminated step, the final value after a truncated one, else the value at t + 1.
    """
    following = torch.cat([values[1:], bootstrap_value.unsqueeze(0)])
    following = torch.where(truncated, final_values, following)
    return following.masked_fill(terminated, 0.0)


def generalized_advantages(
    rewards: Tensor, values: Tensor, next_values: Tensor, ended: Tensor, gamma: float, gae_lambda: float
) -> Tensor:
    """GAE (Schulman et al. 2016, equation 16): A_t = δ_t + γλ (1 − ended_t) A_{t+1}, δ_t = r_t + γ V'_t − V_t.

    rewards, values, next_values (T, N) float; ended (T, N) bool: the episode ended at that step, either way.
    Returns the advantages (T, N).
    """
    deltas = rewards + gamma * next_values - values
    carry = gamma * gae_lambda * (~ended).to(deltas.dtype)
    advantages = torch.empty_like(deltas)
    following = torch.zeros_like(deltas[0])
    # views of the rows in one call: making them one by one would take longer than the arithmetic
    for delta, factor, advantage in reversed(
        list(zip(deltas.unbind(), carry.unbind(), advantages.unbind(), strict=True))
    ):
        following = torch.addcmul(delta, factor, following, out=advantage)
    return advantages


def discounted_returns(rewards: Tensor, next_values: Tensor, ended: Tensor, gamma: float) -> Tensor:
    """R_t = r_t + γ R_{t+1} within an episode; where it ends, and after the last step, R_{t+1} is V'_t.

    Shapes as in `generalized_advantages`. Returns (T, N).
    """
    returns = torch.empty_like(rewards)
    following = next_values[-1]
    for t in range(len(rewards) - 1, -1, -1):
        following = rewards[t] + gamma * torch.where(ended[t], next_values[t], following)
        returns[t] = following
    return returns
