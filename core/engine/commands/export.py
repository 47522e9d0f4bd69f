"""Export: a trained model for programs that know nothing of trainctl, checked by reading it back."""

from __future__ import annotations

import contextlib
import json
import logging
import warnings
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.distributions import Distribution

from ...batch import Memory
from ...distributions import as_action_distribution
from ...errors import TrainctlError, UsageError
from ...tree import Tree, flatten, map_tree
from ..collecting.acting import initial_memory
from ..environments import allocate, observation_layout, writer
from ..playing.policy import policy_of
from ..saving.checkpoint_content import decode_model, encode_model
from ..saving.from_checkpoint import TrainedModel
from ..saving.origin import versions

SAFETENSORS, PT2, ONNX = "safetensors", "pt2", "onnx"
SAMPLES = 8
TOLERANCE = 1e-5
OUTPUTS = ["actions", "values", "memory_after"]
Input = tuple[Tree, Tensor, Tensor]


class Act(nn.Module):
    """What is exported as a program: (observations, memory, masks) -> (most probable actions, values, memory).

    Of one step of one environment, shapes (1, 1, …); memory is an empty tensor for a model without.
    """

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, observations: Tree, memory: Memory, masks: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """See the class."""
        output = self.model(observations, memory if memory is not None and memory.numel() else None, masks)
        after = masks.new_zeros(0) if output[2] is None else output[2]
        return as_action_distribution(output[0]).mode(), output[1], after


def export(opened: TrainedModel, folder: Path, form: str) -> list[Path]:
    """Write the model and `contract.json` (what goes in, what comes out) into a folder; gives the files.

    form: "safetensors", the parameters by name; "pt2", a program of `torch.export` that needs torch alone; "onnx", a
    program for ONNX Runtime and others (extra `onnx`). What was written is read back and compared: parameters bit by
    bit, a program by its actions and values on random observations.
    Raises `TrainctlError` where they differ or the model cannot be exported, and `UsageError` where a file cannot be
    written or a package is missing.
    """
    file = folder / f"model.{form}"
    write = {SAFETENSORS: _write_parameters, PT2: _write_program, ONNX: _write_onnx}[form]
    try:
        folder.mkdir(parents=True, exist_ok=True)
        write(opened, file)
        contract = folder / "contract.json"
        contract.write_text(json.dumps(_contract(opened, form), indent=2) + "\n")
    except OSError as error:
        raise UsageError(f"{error.filename or folder} cannot be written: {error.strerror}") from error
    return [file, contract]


def _write_parameters(opened: TrainedModel, file: Path) -> None:
    state = opened.model.state_dict()
    file.write_bytes(encode_model(state))
    again = decode_model(file.read_bytes(), str(file))
    different = [name for name, tensor in state.items() if not torch.equal(tensor.cpu(), again[name])]
    if different or set(again) != set(state):
        raise TrainctlError(f"{file} does not hold what was written: {different[:3]}")


def _write_program(opened: TrainedModel, file: Path) -> None:
    act, inputs = Act(opened.model.cpu()).eval(), _inputs(opened)
    with _traced("torch.export"):
        torch.export.save(torch.export.export(act, inputs[0]), file)
    _compare(act, torch.export.load(file).module(), inputs, file)


def _write_onnx(opened: TrainedModel, file: Path) -> None:
    try:
        import onnxruntime
        import onnxscript  # noqa: F401  # torch.onnx needs it
    except ImportError as error:
        hint = "pip install 'trainctl[onnx]', or choose --format pt2"
        raise UsageError(f"--format onnx needs {error.name}, which is not installed", hint) from error
    act, inputs = Act(opened.model.cpu()).eval(), _inputs(opened)
    with _traced("torch.onnx"):
        names = _input_names(inputs[0])
        how: dict[str, Any] = {"input_names": names, "output_names": OUTPUTS, "external_data": False, "verbose": False}
        torch.onnx.export(act, inputs[0], file, **how)
    session = onnxruntime.InferenceSession(file, providers=["CPUExecutionProvider"])

    def program(*one: Any) -> list[Tensor]:
        given = {name: leaf.numpy() for name, leaf in zip(_input_names(one), _leaves(one), strict=True)}
        return [torch.from_numpy(out) for out in session.run(OUTPUTS, given)]

    _compare(act, program, inputs, file)


@contextlib.contextmanager
def _traced(by: str) -> Iterator[None]:
    """Whatever goes wrong in here, but for the disk, is said to be the tracing of the model. Torch's own doubts (it has
    many, of its own insides) are not shown: what was written is compared."""
    logging.getLogger("torch.onnx").setLevel(logging.ERROR)
    looked = Distribution._validate_args
    Distribution.set_default_validate_args(False)  # a trace does not know the numbers that are looked at
    try:
        with torch.no_grad(), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    except OSError:
        raise
    except Exception as error:
        reason = str(error).partition("\n")[0]
        hint = "export its parameters instead: --format safetensors"
        raise TrainctlError(f"{by} cannot trace the model: {reason}", hint) from error
    finally:
        Distribution.set_default_validate_args(looked)


@torch.no_grad()
def _compare(act: Act, program: Callable[..., Sequence[Tensor]], inputs: Sequence[Input], file: Path) -> None:
    for one in inputs:
        for ours, theirs in zip(act(*one), program(*one), strict=True):
            if ours.shape != theirs.shape or not torch.allclose(ours, theirs, atol=TOLERANCE):
                raise TrainctlError(f"{file} answers otherwise than the model: {theirs} instead of {ours}")


def _leaves(one: Input) -> list[Tensor]:
    observations, memory, masks = one
    return [*flatten(observations).values(), memory, masks]


def _input_names(one: Input) -> list[str]:
    """observations, or observations.NAME for each part of it; memory; masks."""
    names = [f"observations.{name}" if name else "observations" for name in flatten(one[0])]
    return [*names, "memory", "masks"]


def _inputs(opened: TrainedModel) -> list[Input]:
    """Random observations of the environment's space; an episode begins with the first of them."""
    space = policy_of(opened).observation_space
    space.seed(0)
    layout, memory = observation_layout(space), initial_memory(opened.model, 1, torch.device("cpu"))
    inputs = []
    for number in range(SAMPLES):
        rows = allocate(layout, 1)
        writer(layout)(rows, 0, space.sample())
        observations = map_tree(lambda leaf: torch.from_numpy(leaf[None]), rows)
        inputs.append(
            (observations, torch.zeros(0) if memory is None else memory, torch.full((1, 1), float(number > 0)))
        )
    return inputs


def _contract(opened: TrainedModel, form: str) -> dict[str, Any]:
    policy = policy_of(opened)
    memory = initial_memory(opened.model, 1, torch.device("cpu"))
    layout = flatten(observation_layout(policy.observation_space))
    return {
        "format": form,
        "checkpoint": opened.checkpoint.path.name,
        "total_steps": opened.checkpoint.step,
        "observations": {name: {"shape": list(leaf.shape), "dtype": str(leaf.dtype)} for name, leaf in layout.items()},
        "observation_space": str(policy.observation_space),
        "action_space": str(policy.action_space),
        "memory": None if memory is None else {"shape": list(memory.shape[1:]), "dtype": "float32"},
        **({"input_names": _input_names(_inputs(opened)[0]), "output_names": OUTPUTS} if form == ONNX else {}),
        "inputs": "observations (1, 1, …), memory (1, …) or empty, masks (1, 1): 0 where an episode begins, else 1",
        "outputs": "the most probable actions (1, 1, …) before they are clipped or shifted, values (1, 1), memory",
        "versions": versions(),
    }
