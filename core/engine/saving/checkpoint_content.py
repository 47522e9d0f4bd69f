"""What stands in the files of a checkpoint: tensors and plain data, never an object that has to be unpickled."""

from __future__ import annotations

import io
import re
from collections import Counter, OrderedDict, defaultdict
from typing import Any

import numpy as np
import safetensors.torch
import torch
from torch import Tensor

from ...errors import CheckpointError

PLAIN = (str, int, float, bool, type(None), bytes)
UNREADABLE = (b"",)  # torch.load knows the way in which pickle writes all bytes but these
MAPPINGS = (dict, OrderedDict, defaultdict, Counter)


def encode_model(model: dict[str, Tensor]) -> bytes:
    """The tensors of a model's state_dict as a safetensors file. Raises `CheckpointError` for what is no tensor."""
    for name, value in model.items():
        if not isinstance(value, Tensor):
            raise CheckpointError(
                f"model.{name} is a {_kind(value)}, which a checkpoint cannot hold: only tensors are saved of a model",
                "register it as a buffer, or make it of the arguments of the model",
            )
    # each a copy of its own: safetensors refuses tensors that share memory
    return safetensors.torch.save({name: value.detach().cpu().contiguous().clone() for name, value in model.items()})


def encode_state(state: dict[str, Any]) -> bytes:
    """Part name -> state, as a file that can be read without unpickling. Raises `CheckpointError`, see `plain`."""
    buffer = io.BytesIO()
    torch.save({name: plain(value, name) for name, value in state.items()}, buffer)
    return buffer.getvalue()


def decode_model(data: bytes, file: str) -> dict[str, Tensor]:
    """What `encode_model` was given, on the CPU. Raises `CheckpointError` for anything else."""
    try:
        return safetensors.torch.load(data)
    except Exception as error:
        raise CheckpointError(f"{file} was refused: it is no safetensors file ({error})") from error


def decode_state(data: bytes, file: str) -> dict[str, Any]:
    """What `encode_state` was given, on the CPU. Raises `CheckpointError` for anything else; nothing is executed."""
    try:
        state = torch.load(io.BytesIO(data), map_location="cpu", weights_only=True)
    except Exception as error:
        raise CheckpointError(
            f"{file} was refused: {_what_was_refused(str(error))}",
            "a checkpoint holds tensors and plain data only, and nothing in it is ever executed",
        ) from error
    if not isinstance(state, dict):
        raise CheckpointError(f"{file} was refused: it holds a {_kind(state)}, not a dictionary of parts")
    return state


def plain(value: Any, path: str) -> Any:
    """The same data, of nothing but dict, list, tuple, set, str, int, float, bool, None, bytes and Tensor.

    NumPy scalars become Python numbers, an OrderedDict, a defaultdict or a Counter a dict; tensors are detached and
    brought to the CPU. Raises `CheckpointError` for anything else and names where it is: "optimizer.state.3.exp_avg".
    """
    if isinstance(value, np.generic):
        value = value.item()
    if type(value) in PLAIN and value not in UNREADABLE and not _is_huge(value):
        return value
    if type(value) in MAPPINGS:
        return {plain(key, f"a key of {path}"): plain(item, f"{path}.{key}") for key, item in value.items()}
    if type(value) in (list, tuple, set):
        return type(value)(plain(item, f"{path}.{index}") for index, item in enumerate(value))
    if type(value) in (Tensor, torch.nn.Parameter) and value.layout == torch.strided:
        return _compact(value.detach().cpu())
    raise CheckpointError(
        f"{path} is {_described(value)}, which a checkpoint cannot hold",
        "state_dict() may give tensors, numbers, texts, and lists, tuples, sets and dictionaries of them",
    )


def _is_huge(value: Any) -> bool:
    """torch.load does not read whole numbers of more than 255 bytes."""
    return type(value) is int and value.bit_length() >= 255 * 8


def _compact(tensor: Tensor) -> Tensor:
    """A view would be saved with all of the memory that it is a view of."""
    return tensor if tensor.untyped_storage().nbytes() == tensor.nbytes else tensor.clone()


def _described(value: object) -> str:
    if type(value) in PLAIN:
        return "an empty bytes object" if value in UNREADABLE else "a whole number of more than 255 bytes"
    return f"a {_kind(value)}"


def _kind(value: object) -> str:
    kind = type(value)
    return kind.__qualname__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__qualname__}"


def _what_was_refused(message: str) -> str:
    """PyTorch's message would advise to switch its protection off."""
    names = re.findall(r"GLOBAL (\S+)", message) or re.findall(r"[Cc]lass ['\"]?([\w.]+)", message)
    return f"it asks for the code of {names[0]}" if names else "it is no file of tensors and plain data"
