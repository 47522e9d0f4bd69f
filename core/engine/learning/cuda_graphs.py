"""torch's compiler as we use it; on a GPU with CUDA graphs: all kernels of a function started by one call."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor

from .tape import Repeat

OPTIONS: dict[str, dict[str, Any]] = {
    "cpu": {"fallback_random": True, "cpp_wrapper": True, "cpp.use_decompose_tanh": True},  # tanh of vectors
    "cuda": {"fallback_random": True, "triton.cudagraphs": True},  # which the C++ wrapper would keep out
}
"""Of torch's compiler, by the type of device."""


def compiled_for(device: torch.device, function: Repeat) -> Repeat:
    """The function in one graph of operations for each shape of its inputs, compiled when it is called with that."""
    found: Repeat = torch.compile(function, fullgraph=True, dynamic=False, options=OPTIONS[device.type])
    return found if device.type == "cpu" else _with_outputs_of_their_own(found)


def _with_outputs_of_their_own(compiled: Repeat) -> Repeat:
    """The function, whose outputs the next call would overwrite, giving copies of them."""

    def called(*inputs: Any) -> list[Tensor]:
        torch.compiler.cudagraph_mark_step_begin()
        return [output.clone() for output in compiled(*inputs)]

    return called


def stay_where_they_are(tensors: Iterable[Tensor]) -> None:
    """Promise that these inputs of a compiled function lie at the same addresses each time: a CUDA graph reads and
    changes them there, and copies all others for each call. It is recorded anew where one has moved."""
    for tensor in tensors:
        torch._dynamo.mark_static_address(tensor)


def graphs_left_out() -> int:
    """How often the compiler found that operations on a GPU could be no CUDA graph, since it was reset."""
    from torch._dynamo.utils import counters

    return int(counters["inductor"]["cudagraph_skips"])
