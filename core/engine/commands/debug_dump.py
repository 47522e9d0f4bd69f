"""An update that was not made because its numbers were not finite, repeated under the eyes of autograd."""

from __future__ import annotations

import json
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from ...batch import Batch
from ...builder import Builder
from ...errors import CheckpointError
from ...experiment import Experiment
from ...pipeline import PipelineStage
from ...tree import leaves, map_tree
from ..building import build_model, environment_of_stage
from ..environments import build_environments
from ..learning.non_finite import BATCH, DUMP, MODEL, OFF_POLICY, count_bad
from ..learning.precision import learn_in_bfloat16
from ..saving.checkpoint_content import decode_model
from ..saving.from_checkpoint import load_run
from ..saving.run_directory import RunDirectory


class Repeated(NamedTuple):
    """What the repeated update was like: where it comes from, what was found, whether it was not finite again."""

    origin: str
    findings: list[str]
    is_reproduced: bool


def repeat_update(path: Path) -> Repeated:
    """Repeat the update of a dump: of a run, its `nan_dump`, or one worker's part of that.

    Raises `CheckpointError` if there is none, or it is of another model.
    """
    directory = _dump_in(path)
    about = json.loads((directory / DUMP).read_text("utf-8"))
    run = RunDirectory.of_checkpoint(directory)
    experiment = load_run(run).experiment
    stage = experiment.pipeline.pipeline_stages[about["stage_index"]]
    tensors = decode_model((directory / BATCH).read_bytes(), BATCH)
    model = _model(experiment, about["stage_index"], directory)
    if run.read_run().get("bfloat16"):
        learn_in_bfloat16(model)
    losses = _losses(experiment, stage, about, model, tensors)
    origin = f"stage {about['stage']!r} after {about['total_steps']:,} steps, {about['kind']}, {directory}"
    findings = [f"the batch's {name}: {_share(tensor)}" for name, tensor in tensors.items() if count_bad(tensor)]
    named = {f"the model's {name}": tensor for name, tensor in model.state_dict().items()}
    findings += [f"{name}: {_share(tensor)}" for name, tensor in named.items() if count_bad(tensor)]
    before = len(findings)
    findings += _repeat(model, losses)
    return Repeated(origin, findings, len(findings) > before)


def _dump_in(path: Path) -> Path:
    places = (path, path / "nan_dump")
    for folder in [*places, *(worker for place in places for worker in sorted(place.glob("worker-*")))]:
        if (folder / DUMP).is_file():
            return folder
    raise CheckpointError(f"there is no dump of an update in {path}", "it is the folder nan_dump of a run")


def _model(experiment: Experiment, stage_index: int, directory: Path) -> nn.Module:
    probe = build_environments(environment_of_stage(experiment, stage_index).source, range(1), 0, "probe")
    model = build_model(experiment, probe.observation_space, probe.action_space, 0)
    probe.close()
    try:
        model.load_state_dict(decode_model((directory / MODEL).read_bytes(), MODEL))
    except RuntimeError as error:
        raise CheckpointError(f"the dump {directory} does not fit the experiment's model: {error}") from error
    return model


class _NamedLoss(NamedTuple):
    name: str
    weight: float
    value: Callable[[], Tensor]


def _losses(
    experiment: Experiment, stage: PipelineStage, about: dict[str, Any], model: nn.Module, tensors: dict[str, Tensor]
) -> list[_NamedLoss]:
    """The losses of the stage, each ready to be computed on the dumped batch."""
    memory = tensors.pop("memory", None)
    fields = map_tree(tensors.get, about["batch"])  # what is no tensor was not kept
    component = stage.offpolicy_component if about["kind"] == OFF_POLICY else None
    names, weights = (component or stage).loss_names, (component or stage).loss_weights

    def value(name: str) -> Tensor:
        loss = _built(experiment.pipeline.named_losses[name])
        if component is not None:
            off_policy: Tensor = loss(model, fields["batch"], memory, about["stage_steps"]).value
            return off_policy
        batch = Batch(memory=memory, stage_steps=about["stage_steps"], **fields)
        found: Tensor = loss(batch, model(batch.observations, memory, batch.masks)).value
        return found

    return [
        _NamedLoss(name, weight, partial(value, name))
        for name, weight in zip(names, weights or [1.0] * len(names), strict=True)
    ]


def _repeat(model: nn.Module, losses: list[_NamedLoss]) -> Iterator[str]:
    """What is not finite on the way forward, and on the way back."""
    for loss in losses:
        model.zero_grad()
        with _first_bad_module(model) as modules, warnings.catch_warnings(record=True) as told:
            warnings.simplefilter("always")
            with torch.autograd.set_detect_anomaly(True):
                value = loss.value()
                yield from (f"{module} gave numbers that are not finite" for module in modules[:1])
                if not torch.isfinite(value):
                    yield f"loss/{loss.name} = {value.item()}"
                yield from _backward(loss, value, [str(warning.message) for warning in told])
        bad = {name: p.grad for name, p in model.named_parameters() if p.grad is not None and count_bad(p.grad)}
        yield from (f"the gradient of loss/{loss.name} for {name}: {_share(grad)}" for name, grad in bad.items())


def _backward(loss: _NamedLoss, value: Tensor, told: list[str]) -> Iterator[str]:
    try:
        torch.autograd.backward(value)
    except RuntimeError as error:  # anomaly detection; where that was on the way forward stands in its warning
        yield f"the way back from loss/{loss.name}: {error}"
        yield from (line for text in told for line in text.splitlines())


@contextmanager
def _first_bad_module(model: nn.Module) -> Iterator[list[str]]:
    """The modules whose output is not finite, the innermost and first one first."""
    bad: list[str] = []

    def look(name: str) -> Callable[[nn.Module, Any, Any], None]:
        def hook(module: nn.Module, inputs: Any, output: Any) -> None:
            found = output if isinstance(output, (tuple, list)) else [output]
            if any(isinstance(part, Tensor) and count_bad(part) for item in found for part in leaves(item)):
                bad.append(f"the module {name or 'itself'} ({type(module).__name__})")

        return hook

    handles = [module.register_forward_hook(look(name)) for name, module in model.named_modules()]
    try:
        yield bad
    finally:
        for handle in handles:
            handle.remove()


def _built(loss: Any) -> Any:
    return loss() if isinstance(loss, Builder) else loss


def _share(tensor: Tensor) -> str:
    return f"{count_bad(tensor):,} of {tensor.numel():,} entries are not finite"
