"""Minibatches for tests of losses and of the learner."""

from __future__ import annotations

from typing import Any

import torch

from trainctl.core.batch import Batch


def batch_of(steps: int, **fields: Any) -> Batch:
    """A batch (1, steps) of zeros but for the given fields, which are lists or tensors of length `steps`."""
    zeros = torch.zeros(1, steps)
    values: dict[str, Any] = {
        "observations": zeros[..., None],
        "memory": None,
        "masks": torch.ones(1, steps),
        "actions": zeros.long(),
        "log_probs": zeros,
        "values": zeros,
        "advantages": zeros,
        "normalized_advantages": zeros,
        "returns": zeros,
        "stage_steps": 0,
    }
    for name, value in fields.items():
        values[name] = torch.as_tensor(value)[None] if isinstance(value, list) else value
    return Batch(**values)
