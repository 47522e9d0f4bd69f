"""What the broken experiments have in common, and one neighbour for them to import."""

import torch

from trainctl import Builder

SETTINGS = {
    "optimizer_builder": Builder(torch.optim.Adam, {"lr": 3e-4}),
    "num_mini_batch": 4,
    "update_repeats": 4,
    "max_grad_norm": 0.5,
    "num_steps": 128,
    "gamma": 0.99,
    "use_gae": True,
    "gae_lambda": 0.95,
    "advance_scene_rollout_period": None,
    "save_interval": None,
    "metric_accumulate_interval": 1_000,
}


class Model(torch.nn.Module):
    """Never built."""


MODEL = Builder(Model)


def fails(steps: int) -> int:
    return steps // 0
