"""NumpyPolicy: a small MLPActorCritic acting on a CPU without torch's cost for each call."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor, nn

from .heads import CategoricalHead, GaussianHead
from .layers import HiddenLayers, tanh
from .memory import NoMemory
from .mlp import MLPActorCritic
from .normalization import BoxVector, ObservationNormalizer
from .vectors import VectorEncoder

ACTIVATIONS: dict[Callable[..., Any], Callable[[np.ndarray], np.ndarray]] = {
    tanh: np.tanh,
    torch.relu: lambda features: np.maximum(features, 0),
}

ONE_THREAD = 2**18
"""Matrix products of more multiplications than this are dealt to threads by NumPy's BLAS, which then compete."""


class NumpyPolicy:
    """(observations (N, F), noise (N, n)) → actions (N, …): what `policy(…)` and `sample(noise)` give, up to rounding.

    Its arrays are the memory of the model's parameters: it acts with the model as it is. For a network of two small
    layers it takes a sixth of the time, nearly all of which torch spends on the way to the arithmetic.
    """

    def __init__(self, model: MLPActorCritic) -> None:
        boxes, _, hidden, head = _parts(model)
        self.activation = ACTIVATIONS[hidden.activation]
        layers = [cast(nn.Linear, layer) for layer in hidden.layers]
        self.hidden = [(_array(layer.weight).T, _array(layer.bias)) for layer in layers]
        self.weight, self.bias = _array(head.weight).T, _array(head.bias)
        self.normalizer = boxes if isinstance(boxes, ObservationNormalizer) else None
        self.log_std = _array(head.log_std) if isinstance(head, GaussianHead) else None
        self.begin()

    @staticmethod
    def fits(model: nn.Module, num_envs: int) -> bool:
        """Whether there is one for this model: without memory, for one vector, not too large."""
        if type(model) is not MLPActorCritic or not isinstance(model.memory, NoMemory):
            return False  # a subclass may act otherwise
        _, is_one_vector, hidden, head = _parts(model)
        weights: list[Tensor] = [head.weight, *(cast(nn.Linear, layer).weight for layer in hidden.layers)]
        return (
            hidden.activation in ACTIVATIONS
            and isinstance(head, (CategoricalHead, GaussianHead))
            and is_one_vector
            and all(weight.is_cpu and num_envs * weight.numel() <= ONE_THREAD for weight in weights)
        )

    def begin(self) -> None:
        """A rollout begins: take in what does not move within one."""
        self.scale = 1.0 if self.log_std is None else np.exp(self.log_std)
        if self.normalizer is not None:
            self.mean, self.clip = _array(self.normalizer.mean), self.normalizer.clip
            self.spread = 1 / np.sqrt(_array(self.normalizer.var) + self.normalizer.epsilon)
            self.is_normalizing = bool(self.normalizer.count > 0)

    def __call__(self, observations: np.ndarray, noise: np.ndarray) -> np.ndarray:
        """The actions drawn with this noise."""
        features = observations if self.normalizer is None else self._normalized(observations)
        for weight, bias in self.hidden:
            features = self.activation(features @ weight + bias)
        parameters = features @ self.weight + self.bias
        if self.log_std is None:
            return np.asarray((parameters + noise).argmax(axis=-1))
        return np.asarray(parameters + self.scale * noise)

    def _normalized(self, observations: np.ndarray) -> np.ndarray:
        if not self.is_normalizing:
            return observations
        standard = ((observations - self.mean) * self.spread).clip(-self.clip, self.clip)
        return np.asarray(standard, np.float32)


def _parts(model: MLPActorCritic) -> tuple[BoxVector, bool, HiddenLayers, Any]:
    """What reads the boxes, whether there is nothing else to read, the hidden layers, and the head."""
    encoder, (hidden, head) = model.encoder, cast(nn.Sequential, model.policy_head)
    assert isinstance(encoder, VectorEncoder)
    assert isinstance(hidden, HiddenLayers)
    return encoder.boxes, encoder.boxes.plain and not encoder.paths, hidden, head


def _array(tensor: Tensor) -> np.ndarray:
    return tensor.detach().numpy()
