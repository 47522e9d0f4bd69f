"""Tape: the operations of a computation, recorded once, to be repeated on other tensors of the same shapes."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from typing import Any, TypeAlias

import torch
from torch import Tensor
from torch.jit import optimized_execution  # type: ignore[attr-defined]
from torch.utils._python_dispatch import TorchDispatchMode

from .cpu_operations import CPUOperations

Repeat: TypeAlias = Callable[..., list[Tensor]]
"""From the inputs to the outputs, by the recorded operations."""

UNREPEATABLE = {torch.Tag.nondeterministic_seeded, torch.Tag.data_dependent_output, torch.Tag.dynamic_output_shape}
"""Operations that draw random numbers, or whose outcome is a number or a shape that Python may have decided by."""


class NotRepeatable(Exception):  # noqa: N818 no error: the computation is right, it only cannot be recorded
    """A computation did what other inputs need not repeat."""


def record(function: Callable[..., Sequence[Tensor]], inputs: Sequence[Tensor]) -> Repeat:
    """Run `function(*inputs)` and return what does the same with other inputs: without Python and without autograd,
    which take most of the time where tensors are small. The results are the same bits but for what `CPUOperations`
    does.

    What autograd does within the function is recorded like all else. What Python decides is decided for ever: the
    function must not depend on anything but its inputs. Raises NotRepeatable where that is seen to be so.
    """
    with _Tape(inputs) as tape, CPUOperations():
        outputs = function(*inputs)
    results = ", ".join(tape.name(output) for output in outputs)
    source = "\n    ".join([f"def repeat({', '.join(tape.inputs)}):", *tape.lines, f"return [{results}]"]) + "\n"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # torch.compile, its successor, needs a compiler
        script = torch.jit.CompilationUnit(source).repeat

    def repeat(*tensors: Tensor) -> list[Tensor]:
        with torch.inference_mode(), optimized_execution(False):  # optimized, it rounds otherwise
            found: list[Tensor] = script(*tensors)
        return found

    return repeat


class _Tape(TorchDispatchMode):
    """Each operation that gives a new tensor, as a line of TorchScript. A tensor is known by the place in memory where
    it lies, since autograd hands out its saved tensors as new objects; all are kept, so that no place is used twice."""

    def __init__(self, inputs: Sequence[Tensor]) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.lines: list[str] = []
        self._names: dict[Any, str] = {}
        self._kept: list[Tensor] = []
        self.inputs = [self._add(tensor) for tensor in inputs]

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        return False  # or torch imports its compiler to skip it, which takes as long as torch itself

    def name(self, tensor: Tensor) -> str:
        """The variable that holds this tensor."""
        if _place(tensor) not in self._names:
            raise NotRepeatable("a tensor was used that is neither an input nor made of inputs")
        return self._names[_place(tensor)]

    def _add(self, tensor: Tensor) -> str:
        self._kept.append(tensor)
        self._names[_place(tensor)] = f"t{len(self._kept)}"
        return self.name(tensor)

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if UNREPEATABLE.intersection(func.tags):
            raise NotRepeatable(f"{func} is not the same each time")
        named = [f"{name}={self._text(value)}" for name, value in (kwargs or {}).items()]
        call = f"torch.ops.{func.namespace}.{func._opname}({', '.join([*map(self._text, args), *named])})"
        result = func(*args, **(kwargs or {}))
        if result is None:
            raise NotRepeatable(f"{func} changes a list of tensors, which TorchScript leaves out")
        several = result if isinstance(result, (tuple, list)) else [result]
        if func._schema.is_mutable or not all(self._is_known(one) for one in several):
            names = [self._add(one) if isinstance(one, Tensor) else "_" for one in several]
            # a list of one tensor is a list for TorchScript, unless it is asked for its only element
            is_list_of_one = isinstance(result, (tuple, list)) and len(result) == 1
            self.lines.append(f"{', '.join(names)} = {call}{'[0]' if is_list_of_one else ''}")
        return result

    def _is_known(self, result: Any) -> bool:
        """Whether this is a tensor that already has a name, seen once more, as by `detach`."""
        return isinstance(result, Tensor) and _place(result) in self._names

    def _text(self, value: Any) -> str:
        """An argument as TorchScript writes it."""
        if isinstance(value, Tensor):
            return self.name(value)
        if isinstance(value, (list, tuple)):
            return f"[{', '.join(map(self._text, value))}]"
        if isinstance(value, float):
            return f"float('{value!r}')"
        return f"torch.device('{value}')" if isinstance(value, torch.device) else repr(value)


def _place(tensor: Tensor) -> Any:
    where = tensor.untyped_storage().data_ptr(), tensor.storage_offset()
    return *where, tensor.shape, tensor.stride(), tensor.dtype, tensor.is_conj(), tensor.is_neg()
