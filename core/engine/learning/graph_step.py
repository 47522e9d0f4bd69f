"""GraphStep: what follows on a gradient, in operations that a compiler can trace."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from ...settings import ResolvedSettings
from .optimizer_steps import WholeAdamSteps


class GraphStep:
    """Norm, clipping and the step of `WholeAdamSteps`; equal to them up to the rounding of floats.

    * is_bad: whether norm plus total, a scalar, is known not to be finite; see `LookEachTime`.

    state: what it reads and changes: the vector of weights, both moments, the counts of steps, and the learning rate.
    """

    def __init__(self, steps: WholeAdamSteps, settings: ResolvedSettings, is_bad: Callable[[Tensor], bool]) -> None:
        self.steps, self.settings, self.is_bad = steps, settings, is_bad
        self.learning_rate = steps.counts.new_zeros(())
        self.state = [steps.vector, *steps.moments.values(), steps.counts, self.learning_rate]
        self._traced = self._hyperparameters()

    def _hyperparameters(self) -> dict[str, Any]:
        group = self.steps.optimizer.param_groups[0]
        return {name: group[name] for name in ("betas", "eps", "weight_decay", "maximize", "decoupled_weight_decay")}

    def is_ready(self) -> bool:
        """Whether the step is still the one that was traced. Sets the learning rate to that of now."""
        self.learning_rate.fill_(self.steps.optimizer.param_groups[0]["lr"])
        return self.steps.same_counts and self._hyperparameters() == self._traced

    def __call__(self, state: Sequence[Tensor], gradient: Tensor, total: Tensor) -> Tensor:
        """Change the state, see there, in place; nothing where norm or total are not finite. Returns the norm."""
        norm: Tensor = torch.linalg.vector_norm(gradient, self.settings.grad_norm_type)
        proceed = torch.isfinite(norm + total)
        if self.settings.max_grad_norm is not None:
            gradient = gradient * (self.settings.max_grad_norm / (norm + 1e-6)).clamp(max=1.0)
        for own, new in zip(state, self._stepped(gradient, *state), strict=False):
            own.copy_(torch.where(proceed, new, own))
        return norm

    def _stepped(
        self, gradient: Tensor, weights: Tensor, mean: Tensor, square: Tensor, counts: Tensor, learning_rate: Tensor
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Adam (Kingma and Ba 2015, algorithm 1) or AdamW (Loshchilov and Hutter 2019, algorithm 2)."""
        (first, second), decay = self._traced["betas"], self._traced["weight_decay"]
        if self._traced["maximize"]:
            gradient = -gradient
        if self._traced["decoupled_weight_decay"]:
            weights = weights * (1 - learning_rate * decay)
        elif decay:
            gradient = gradient + decay * weights
        count = counts[0] + 1
        mean = torch.lerp(mean, gradient, 1 - first)
        square = second * square + (1 - second) * gradient.square()
        size = square.sqrt() / (1 - second**count).sqrt() + self._traced["eps"]
        return weights - learning_rate / (1 - first**count) * mean / size, mean, square, count.expand_as(counts)
