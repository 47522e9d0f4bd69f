"""What can be wrong with the values in a declaration: pure functions from a value to complaints about it.

A complaint is (what is wrong, what to do); the declaration adds the place.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, TypeAlias

from .builder import Builder
from .errors import shown
from .schedules import LinearDecay, MultiLinearDecay
from .settings import number_fault

Complaints: TypeAlias = Iterator[tuple[str, str]]


def whole_number_complaints(name: str, value: Any) -> Complaints:
    """It must be a whole number ≥ 1."""
    if text := number_fault(name, value, True, 1, math.inf, True):
        is_whole = isinstance(value, float) and value.is_integer()
        yield text, f"write {int(value):_} or int(...)" if is_whole else ""


def process_complaints(value: Any) -> Complaints:
    """None, or a whole number ≥ 0."""
    if value is not None and (text := number_fault("environment_processes", value, True, 0, math.inf, True)):
        yield text, "0 steps the environments in the worker itself; None chooses"


def seconds_complaints(name: str, value: Any) -> Complaints:
    """A number above 0."""
    if text := number_fault(name, value, False, 0, math.inf, False):
        yield text, ""


def switch_complaints(name: str, value: Any) -> Complaints:
    """It must be True or False."""
    if not isinstance(value, bool):
        yield f"{name} must be True or False, not {shown(value)}", ""


def name_complaints(value: Any) -> Complaints:
    """A stage's name must be a text that is not empty, or None."""
    if value is not None and (not isinstance(value, str) or not value.strip()):
        yield f"name must be a text, not {shown(value)}", "leave it out to call the stage by its losses"


def names_complaints(names: Any) -> Complaints:
    """Names of losses: a list of different strings."""
    if not is_list(names):
        yield f"loss_names must be a list of names, not {shown(names)}", 'write e.g. ["ppo"]'
        return
    for name in names:
        if not isinstance(name, str):
            yield f"loss_names must hold names, not {shown(name)}", "the losses themselves stand in named_losses"
    for name in sorted({name for name in names if isinstance(name, str) and list(names).count(name) > 1}):
        yield f"loss_names names {name!r} more than once", "to weigh a loss use loss_weights"


def weights_complaints(weights: Any, names: Any) -> Complaints:
    """One finite number for each name, or None."""
    if weights is None:
        return
    if not is_list(weights):
        yield f"loss_weights must be a list of numbers or None, not {shown(weights)}", ""
        return
    for weight in weights:
        if isinstance(weight, bool) or not isinstance(weight, (int, float)) or not math.isfinite(weight):
            yield f"loss_weights must hold finite numbers, not {shown(weight)}", ""
    if is_list(names) and len(weights) != len(names):
        losses = ", ".join(map(str, names)) or "none"
        yield f"loss_weights has {len(weights)} numbers for {len(names)} losses ({losses})", "give one for each loss"


def max_stage_steps_complaints(value: Any) -> Complaints:
    """A whole number ≥ 1, or a function."""
    if not callable(value):
        yield from whole_number_complaints("max_stage_steps", value)


def teacher_forcing_complaints(value: Any) -> Complaints:
    """A function of the stage's steps, or None; where it is one of our schedules, it must stay within [0, 1]."""
    if value is None:
        return
    if isinstance(value, type) or not callable(value):
        text = f"teacher_forcing must be a function of the stage's steps, not {shown(value)}"
        yield text, "for a constant probability p write LinearDecay(1, p, p)"
    decays = value.stages if isinstance(value, MultiLinearDecay) else (value,)
    ends = [end for decay in decays if isinstance(decay, LinearDecay) for end in (decay.startp, decay.endp)]
    if beyond := [end for end in ends if isinstance(end, (int, float)) and not 0 <= end <= 1]:
        yield f"teacher_forcing must stay between 0 and 1, but reaches {beyond[0]!r}", "it is a probability"


def criterion_complaints(value: Any) -> Complaints:
    """An object that is asked whether to stop, or None."""
    if value is not None and (isinstance(value, type) or not callable(value)):
        text = f"early_stopping_criterion must be an EarlyStoppingCriterion, not {shown(value)}"
        yield text, f"write {value.__name__}(...)" if isinstance(value, type) else ""


def function_complaints(name: str, value: Any) -> Complaints:
    """It must be something to call."""
    if not callable(value):
        yield f"{name} must be a function, not {shown(value)}", ""


def component_complaints(component: Any) -> Complaints:
    """The fields of an OffPolicyPipelineComponent."""
    names, generator = component.loss_names, component.data_iterator_kwargs_generator
    yield from function_complaints("data_iterator_builder", component.data_iterator_builder)
    yield from names_complaints(names)
    if is_list(names) and not names:
        yield "loss_names is empty", "name at least one off-policy loss"
    yield from whole_number_complaints("updates", component.updates)
    yield from weights_complaints(component.loss_weights, names)
    if generator is not None:
        yield from function_complaints("data_iterator_kwargs_generator", generator)


def missing_complaints(name: str, value: Any) -> Complaints:
    """What only a stage may leave open."""
    if value is None:
        yield f"{name} must be given in the pipeline", "its stages inherit it from there"


def builder_complaints(name: str, value: Any, example: str) -> Complaints:
    """It must be a Builder; `example` shows how to write one."""
    if not isinstance(value, Builder):
        yield f"{name} must be a Builder, not {shown(value)}", f"write e.g. {example}: trainctl builds it itself"


def named_losses_complaints(losses: Any) -> Complaints:
    """Name -> a loss or a Builder of one, at least one."""
    if not isinstance(losses, Mapping) or not losses:
        text = f"named_losses must be a dictionary of at least one loss, not {shown(losses)}"
        yield text, 'write e.g. {"ppo": Builder(PPO)}'
        return
    for name, loss in losses.items():
        if not isinstance(name, str):
            yield f"named_losses must have names as keys, not {shown(name)}", 'write e.g. {"ppo": Builder(PPO)}'
        if isinstance(loss, type) or not callable(loss):
            hint = f"write Builder({loss.__name__})" if isinstance(loss, type) else ""
            yield f"the loss {name!r} must be a loss or a Builder of one, not {shown(loss)}", hint


def environment_complaints(source: Any) -> Complaints:
    """An id, a Builder or a function. Whether an id is known shows when the experiment is loaded."""
    made_by = source.class_type if isinstance(source, Builder) else source
    if isinstance(source, str):
        if not source.strip():
            yield "environment is an empty text", 'write the id of an environment, e.g. "CartPole-v1"'
    elif not callable(source):
        text = f"environment must be an id, a Builder or a function, not {shown(source)}"
        yield text, 'write e.g. "CartPole-v1" or Builder(MyEnv, {...}): each environment is built on its own'
    elif isinstance(made_by, type) and not (hasattr(made_by, "reset") and hasattr(made_by, "step")):
        text = f"environment builds {made_by.__name__}, which has no methods reset and step"
        yield text, "it must be a gymnasium.Env or a gymnasium.vector.VectorEnv"


def model_complaints(model: Any) -> Complaints:
    """A Builder that is called with the two spaces."""
    if isinstance(model, Builder):
        return
    built = model if isinstance(model, type) else type(model)
    name = built.__name__ if hasattr(built, "forward") else "MLPActorCritic"
    hint = f"write Builder({name}, {{...}}): trainctl builds it with the spaces of the environment"
    yield f"model must be a Builder, not {shown(model)}", hint


def within(part: str, complaints: Complaints) -> Complaints:
    """The same complaints, with the name of the part that they are about."""
    return ((f"{part}: {text}", hint) for text, hint in complaints)


def is_list(value: Any) -> bool:
    """Whether it is a sequence of things; a text is none."""
    return isinstance(value, Sequence) and not isinstance(value, (str, bytes))
