"""The values and log-probabilities of a whole rollout at once: the parameters have not moved since it began."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from ...batch import Memory
from ...distributions import as_action_distribution
from ...tree import Tree, map_tree
from ..environments import allocate, observation_layout, writer
from .rollout import Rollout


class FinalObservation(NamedTuple):
    """The last observation of an episode that was truncated at step t, and the memory the model had then."""

    t: int
    environment: int
    observation: Tree
    memory: Memory


@torch.no_grad()
def fill_in_values(
    rollout: Rollout,
    model: nn.Module,
    memory: Memory,
    finals: list[FinalObservation],
    known: tuple[Tensor, Tensor] | None,
) -> None:
    """Values, log-probabilities, and the values with which the returns are bootstrapped → the rollout's fields.

    * memory: the model's after the rollout, (N, …) or None.
    * finals: where episodes were truncated.
    * known: values and log-probabilities (T, N) as far as acting has given them; None: still to be computed.
    """
    fields = rollout.fields
    evaluate = _evaluate_steps if rollout.first_memory is None else _evaluate_sequences
    fields["values"], fields["log_probs"] = known or evaluate(rollout, model)
    last = map_tree(lambda leaf: leaf[-1:], rollout.observations)
    fields["bootstrap_value"] = model(last, memory, rollout.masks[-1:])[1][0]
    fields["final_values"] = torch.zeros_like(fields["values"])
    if finals:
        steps, environments = [final.t for final in finals], [final.environment for final in finals]
        fields["final_values"][steps, environments] = _values_of(finals, model, rollout)


def _evaluate_steps(rollout: Rollout, model: nn.Module) -> tuple[Tensor, Tensor]:
    shape = (rollout.num_steps, rollout.num_envs)
    observations = map_tree(lambda leaf: leaf[:-1].flatten(0, 1), rollout.observations)
    actions, masks = rollout.fields["actions"].flatten(0, 1), rollout.masks[:-1].flatten()
    # parts that stay in a processor's cache: for images one big batch takes twice the time for each of them
    room = 2**21 if rollout.device.type == "cpu" else 2**26
    size = int(np.clip(room // max(rollout.observation_bytes(), 1), 64, 4096))
    # made beforehand: small results between large intermediate ones would leave the memory full of holes
    values, log_probs = masks.new_empty(len(masks)), masks.new_empty(len(masks))
    for start in range(0, len(masks), size):
        part = slice(start, start + size)
        own = map_tree(lambda leaf, part=part: leaf[None, part], observations)
        distribution, value, _ = model(own, None, masks[None, part])
        values[part] = value[0]
        log_probs[part] = as_action_distribution(distribution).log_prob(actions[None, part])[0]
    return values.view(shape), log_probs.view(shape)


def _evaluate_sequences(rollout: Rollout, model: nn.Module) -> tuple[Tensor, Tensor]:
    observations = map_tree(lambda leaf: leaf[:-1], rollout.observations)
    distribution, values, _ = model(observations, rollout.first_memory, rollout.masks[:-1])
    return values, as_action_distribution(distribution).log_prob(rollout.fields["actions"])


def _values_of(finals: list[FinalObservation], model: nn.Module, rollout: Rollout) -> Tensor:
    layout = observation_layout(rollout.observation_space)  # the types that the model sees while acting
    rows, write = allocate(layout, len(finals)), writer(layout)
    for row, final in enumerate(finals):
        write(rows, row, final.observation)
    observations = map_tree(lambda leaf: torch.from_numpy(leaf[None]).to(rollout.device), rows)
    own = [final.memory for final in finals if final.memory is not None]
    masks = torch.ones(1, len(finals), device=rollout.device)
    values: Tensor = model(observations, torch.stack(own) if own else None, masks)[1][0]
    return values
