"""NumpyPolicy: a small MLPActorCritic acting on a CPU without torch's cost for each call."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor

from .heads import CategoricalHead, GaussianHead
from .layers import HiddenLayers
from .mlp import MLPActorCritic
from .normalization import ObservationNormalizer

ACTIVATIONS: dict[Callable[..., Any], Callable[[np.ndarray], np.ndarray]] = {
    torch.tanh: np.tanh,
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
        hidden, head = _layers(model)
        self.activation = ACTIVATIONS[hidden.activation]
        self.hidden = [(_array(layer.weight).T, _array(layer.bias)) for layer in hidden.layers]
        self.weight, self.bias = _array(head.weight).T, _array(head.bias)
        self.normalizer = model.encoder.boxes if isinstance(model.encoder.boxes, ObservationNormalizer) else None
        self.log_std = _array(head.log_std) if isinstance(head, GaussianHead) else None
        self.begin()

    @staticmethod
    def fits(model: torch.nn.Module, num_envs: int) -> bool:
        """Whether there is one for this model: without memory, for one vector, not too large."""
        if type(model) is not MLPActorCritic or not isinstance(model.policy_head, torch.nn.Sequential):
            return False  # a subclass may act otherwise
        hidden, head = _layers(model)
        weights = [head.weight, *(layer.weight for layer in hidden.layers)]
        return (
            hidden.activation in ACTIVATIONS
            and isinstance(head, (CategoricalHead, GaussianHead))
            and not model.encoder.paths
            and model.encoder.boxes.plain
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
        return standard.astype(np.float32)


def _layers(model: MLPActorCritic) -> tuple[HiddenLayers, Any]:
    hidden, head = model.policy_head
    return hidden, head


def _array(tensor: Tensor) -> np.ndarray:
    return tensor.detach().numpy()
