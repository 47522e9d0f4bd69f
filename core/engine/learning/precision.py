"""Precision: a model that learns in bfloat16, and what stays in float32."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.distributions import Distribution

from ...batch import Memory
from ...errors import ExperimentError
from ...model import ActorCriticOutput
from ...tree import Tree


def learn_in_bfloat16(model: nn.Module) -> None:
    """From now on the model's `forward` computes in bfloat16 what `torch.autocast` holds to be safe in it, as long as
    the model is in training mode. What it gives is float32, and so are its parameters and their gradients.

    `policy`, by which ready models act, and a model in `eval()` compute as ever. Raises `ExperimentError`, when it is
    asked, for a model that gives a distribution of torch.distributions in bfloat16.
    """
    forward = model.forward

    def computed(observations: Tree, memory: Memory, masks: Tensor) -> ActorCriticOutput:
        with torch.autocast(masks.device.type, torch.bfloat16, enabled=model.training):
            distribution, values, memory = forward(observations, memory, masks)
        if isinstance(distribution, Distribution) and _is_in_bfloat16(distribution):
            raise ExperimentError(
                f"with --bfloat16 the model gave {distribution} in bfloat16, whose three digits are too few for the "
                "probability of an action",
                "make it of float32, e.g. Categorical(logits=logits.float())",
            )
        return ActorCriticOutput(distribution, values.float(), None if memory is None else memory.float())

    model.forward = computed


def is_slow_in_bfloat16(device: torch.device) -> bool:
    """Whether it can only imitate this arithmetic: a processor then takes several times as long as in float32."""
    if device.type == "cuda":
        return not torch.cuda.is_bf16_supported(including_emulation=False)
    return device.type == "cpu" and torch.backends.cpu.get_cpu_capability() in ("DEFAULT", "AVX2")


def _is_in_bfloat16(distribution: Distribution) -> bool:
    parts: list[Any] = list(vars(distribution).values())
    return any(
        _is_in_bfloat16(part) if isinstance(part, Distribution) else getattr(part, "dtype", None) == torch.bfloat16
        for part in parts
    )
