"""What a model's first answer shows of mistakes in it, in words that its author can use."""

from __future__ import annotations

import copy
import inspect
from typing import Any

import gymnasium
import torch
from torch import Tensor, nn
from torch.nn.parameter import is_lazy

from ..batch import Memory
from ..distributions import ActionDistribution, as_action_distribution, number_of_parameters
from ..errors import ExperimentError, Fault, written
from ..model import ActorCriticOutput
from ..tree import Tree, made_of, map_tree
from .environments import action_layout, allocate, observation_layout
from .seeding import untouched_global_random_state

_SHAPE = (1, 2)
"""One step of two environments: enough to tell the two apart."""


@torch.inference_mode()
def look_at_model(model: nn.Module, observation_space: Any, action_space: Any) -> None:
    """Ask a copy of the model about observations of zeros. Raises ExperimentError if it answers something else than
    `ActorCritic.forward` promises; what the model itself raises gets a note that says what it was given.

    A model that cannot be copied is not looked at. Lazy modules get their shapes.
    """
    with untouched_global_random_state():
        try:
            twin = copy.deepcopy(model).eval()
        except Exception:
            return
        device = next((parameter.device for parameter in model.parameters()), torch.device("cpu"))
        zeros = allocate(observation_layout(observation_space), *_SHAPE)
        observations = map_tree(lambda leaf: torch.from_numpy(leaf).to(device), zeros)
        given = observations, _memory_of(twin, device), torch.zeros(_SHAPE, device=device)
        if fault := _fault(twin, given, action_space):
            text = f"forward of {type(model).__name__}, for T = 1 step of B = 2 environments, {fault}"
            hint = "forward(observations, memory, masks) gives ActorCriticOutput(distribution, values (T, B), memory)"
            raise ExperimentError([Fault(text, written(type(model).forward), hint)])
        if any(map(is_lazy, model.parameters())):
            with torch.inference_mode(False), torch.no_grad():  # what is made in inference mode cannot be trained
                model.eval()(*given)
                model.train()


def _memory_of(model: nn.Module, device: torch.device) -> Memory:
    begin: Any = getattr(model, "initial_memory", None)
    memory = begin(_SHAPE[1]) if begin else None
    if memory is None:
        return None
    if isinstance(memory, Tensor) and memory.shape[:1] == _SHAPE[1:]:
        return memory.to(device)
    text = f"initial_memory of {type(model).__name__}, for B = 2 environments, gave {made_of(memory)}"
    hint = "the memory is one tensor (B, …), or None; the two of an LSTM stand side by side: torch.cat([h, c], -1)"
    raise ExperimentError([Fault(text, written(begin), hint)])


def _fault(model: nn.Module, given: tuple[Tree, Memory, Tensor], space: gymnasium.Space[Any]) -> str:
    """The first thing that is wrong; empty if nothing is."""
    try:
        inspect.signature(model.forward).bind(*given)
    except TypeError as error:
        return f"cannot be called with three arguments: {error}"
    try:
        output = model(*given)
    except Exception as error:
        names = ("observations", "memory", "masks")
        seen = ", ".join(f"{name} {made_of(one)}" for name, one in zip(names, given, strict=True))
        error.add_note(f"  forward of {type(model).__name__} was given {seen}")
        raise
    if not isinstance(output, ActorCriticOutput):
        return f"gave {made_of(output)}, not an ActorCriticOutput"
    distribution, values, memory = output
    if not isinstance(distribution, (ActionDistribution, torch.distributions.Distribution)):
        return f"gave {made_of(distribution)} as distribution, not one of trainctl.models or torch.distributions"
    if _shape(values) != _SHAPE:
        return f"gave values {made_of(values)}, not {_SHAPE}"
    if _shape(memory) != _shape(given[1]):
        return f"gave memory {made_of(memory)}, where initial_memory gives {made_of(given[1])}"
    logits = getattr(distribution, "logits", None)
    if isinstance(space, gymnasium.spaces.Discrete) and logits is not None and logits.shape[-1] != space.n:
        return f"gave {logits.shape[-1]} logits for {space}"
    return _fault_of_actions(as_action_distribution(distribution), values.device, space)


def _fault_of_actions(distribution: ActionDistribution, device: torch.device, space: gymnasium.Space[Any]) -> str:
    actions = distribution.sample(torch.zeros(*_SHAPE, number_of_parameters(space), device=device))
    if _shape(actions) != (wanted := (*_SHAPE, *action_layout(space).shape)):
        return f"gave a distribution over actions {made_of(actions)}, not {wanted}, for {space}"
    if _shape(log_probs := distribution.log_prob(actions)) != _SHAPE:
        return (
            f"gave log-probabilities {made_of(log_probs)}, not {_SHAPE}: torch.distributions.Independent adds them up"
        )
    return ""


def _shape(tensor: Any) -> tuple[int, ...] | None:
    return tuple(tensor.shape) if isinstance(tensor, Tensor) else None
