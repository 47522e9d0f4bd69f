"""Whether what is computed now becomes a graph of torch's compiler, which other operations suit than torch itself."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

import torch

_traced = ContextVar("traced", default=False)


def is_compiling() -> bool:
    """Whether torch's compiler looks on, or we write down operations for it."""
    return torch.compiler.is_compiling() or _traced.get()


@contextmanager
def traced() -> Iterator[None]:
    """Within this context operations are written down for the compiler."""
    token = _traced.set(True)
    try:
        yield
    finally:
        _traced.reset(token)
