"""Compiler: computations as one graph each, to be repeated on other tensors of the same shapes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeVar

import torch
from torch import Tensor

from ...models.compiling import traced
from .cpu_operations import CPUOperations
from .cuda_graphs import OPTIONS
from .small_images import SmallImages
from .tape import Repeat

Graphs = TypeVar("Graphs")

UPDATE, ACTING = "the update", "how the model acts"


class Compiler:
    """Compiles what can be compiled.

    * note: told that it does. warn: told why it does not.
    """

    def __init__(self, note: Callable[[str], None], warn: Callable[[str], None]) -> None:
        self.note, self.warn = note, warn
        self._said: set[str] = set()

    def try_to(self, compile: Callable[[], Graphs], what: str) -> Graphs | None:
        """What this call gives; None where the compiler fails. what: is compiled, in words."""
        if what not in self._said:
            self._said.add(what)
            self.note(f"compiling {what}, which takes from a few seconds to a minute")
        try:
            return compile()
        except Exception as error:  # the compiler's errors have no class in common
            reason, *_ = [*str(error).strip().splitlines(), ""]
            self.warn(f"not compiled, so slower: {what}: {type(error).__name__}: {reason}")
            return None


class NoCompiler(Compiler):
    """Compiles nothing, and says nothing of it."""

    def __init__(self) -> None:
        super().__init__(_say_nothing, _say_nothing)

    def try_to(self, compile: Callable[[], Graphs], what: str) -> Graphs | None:
        return None


def _say_nothing(text: str) -> None:
    pass


def in_one_graph(function: Callable[..., Sequence[Tensor]], inputs: Sequence[Tensor]) -> Repeat:
    """What `tape.record` gives, for what that can record and a CPU: sooner, and equal up to rounding.

    `torch.compile` looks at Python as well, which before each call takes 80 µs, for a graph of 200. Raises whatever the
    compiler raises.
    """
    from torch import _inductor  # with torch's compiler, which takes as long to import as torch
    from torch.fx.experimental.proxy_tensor import make_fx

    with traced(), SmallImages(), CPUOperations():
        graph = make_fx(function, tracing_mode="fake", _allow_non_fake_inputs=True)(*inputs)
    with torch.no_grad():
        compiled = _inductor.compile(graph, [one.detach() for one in inputs], options=OPTIONS["cpu"])

    def repeat(*tensors: Tensor) -> list[Tensor]:
        with torch.no_grad():
            found: list[Tensor] = compiled(*tensors)
        return found

    return repeat
