"""Large matrix products by oneDNN, which on AMD's processors takes less than half of MKL's time."""

from __future__ import annotations

import torch
from torch import Tensor

LARGE = 2**21
"""Multiplications from which on a product is worth what it takes to call oneDNN, some 10 µs."""

IS_X86 = torch.backends.cpu.get_cpu_capability().startswith("AVX")
HAS_ONEDNN = IS_X86 and hasattr(torch.ops.mkldnn, "_linear_pointwise")
"""Whether torch has this, under a private name; on other processors nobody has measured it."""

NAME = "trainctl::large_product"


def is_large(rows: Tensor, matrix: Tensor) -> bool:
    """Whether the product of so many rows (…, k) with a matrix is one for oneDNN: on a CPU, of float32."""
    is_known = rows.device.type == "cpu" and rows.dtype == torch.float32
    return HAS_ONEDNN and is_known and rows.shape[:-1].numel() * matrix.numel() >= LARGE


def product(left: Tensor, right: Tensor, added: Tensor | None = None) -> Tensor:
    """left (n, k) @ right (k, m), plus what is added, (m,) or (n, m); without a gradient."""
    if is_large(left, right):
        found: Tensor = torch.ops.trainctl.large_product(left, right, added)
        return found
    return left @ right if added is None else torch.addmm(added, left, right)


# an operation of its own: the compiler accepts oneDNN's for products with constants only
torch.library.define(NAME, "(Tensor left, Tensor right, Tensor? added) -> Tensor")


@torch.library.impl(NAME, "CPU")
def _by_onednn(left: Tensor, right: Tensor, added: Tensor | None) -> Tensor:
    found: Tensor
    if added is None or added.dim() == 1:
        found = torch.ops.mkldnn._linear_pointwise(left, right.t(), added, "none", [], "")
    else:
        found = torch.ops.mkldnn._linear_pointwise(left, added, right.t(), None, "add")
    return found


@torch.library.register_fake(NAME)  # type: ignore[untyped-decorator]
def _shape(left: Tensor, right: Tensor, added: Tensor | None) -> Tensor:
    return left.new_empty(len(left), right.shape[1])
