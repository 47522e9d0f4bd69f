"""Operations that torch has a faster one for on a CPU, put in its place wherever a computation is written down."""

from __future__ import annotations

from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode

from ...models.lookup import added_rows
from ...models.products import is_large, product

aten = torch.ops.aten

WHOLE = {aten.linear.default: 1, aten.gru_cell.default: 2, aten.lstm_cell.default: 2}
"""Operations that are products and more where no gradient is wanted, and which of their arguments is a matrix."""


class CPUOperations(TorchDispatchMode):
    """Within this context large products are those of `product`, and the gradients of tables those of `added_rows`:
    the same numbers up to rounding."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        return False  # or torch imports its compiler to skip it, which takes as long as torch itself

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func is aten.mm.default and is_large(*args):
            return product(*args)
        if func is aten.addmm.default and not kwargs and is_large(*args[1:]):
            added, left, right = args
            return product(left, right, added)
        if func in WHOLE and is_large(args[0], args[WHOLE[func]]):
            with self:
                return func.decompose(*args)
        if func is aten.embedding_dense_backward.default and args[3:] == (-1, False):
            return added_rows(*args[:3])
        return func(*args, **(kwargs or {}))
