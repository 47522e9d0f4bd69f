"""GraphStep: what follows on a gradient, in operations that a compiler can trace."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from ...settings import ResolvedSettings
from .optimizer_steps import WholeAdamSteps


class GraphStep:
    """Norm, clipping and the step of `WholeAdamSteps`; equal to them up to the rounding of floats.

    * is_bad: whether norm plus total, a scalar, is known not to be finite; see `LookEachTime`.

    state: what it reads and changes: the vector of weights, both moments, the counts of steps; and the step's
    factors, see `_stepped`: learning rate and betas may follow a schedule, and powers would be computed for every eight
    weights.
    """

    def __init__(self, steps: WholeAdamSteps, settings: ResolvedSettings, is_bad: Callable[[Tensor], bool]) -> None:
        self.steps, self.settings, self.is_bad = steps, settings, is_bad
        self._values = [0.0] * 6
        self.factors = steps.counts.new_zeros(len(self._values)).unbind()
        self.state = [steps.vector, *steps.moments.values(), steps.counts, *self.factors]
        self._traced = self._hyperparameters()

    def _hyperparameters(self) -> dict[str, Any]:
        group = self.steps.optimizer.param_groups[0]
        return {name: group[name] for name in ("eps", "weight_decay", "maximize", "decoupled_weight_decay")}

    def is_ready(self) -> bool:
        """Whether the step is still the one that was traced. Sets the factors to those of the next step."""
        group, count = self.steps.optimizer.param_groups[0], self.steps.count + 1
        (first, second), rate = group["betas"], group["lr"]
        shrinkage = 1 - rate * group["weight_decay"]
        values = [rate / (1 - first**count), math.sqrt(1 - second**count), shrinkage, 1 - first, second, 1 - second]
        for factor, value, before in zip(self.factors, values, self._values, strict=True):
            if value != before:
                factor.fill_(value)
        self._values = values
        return self.steps.same_counts and self._hyperparameters() == self._traced

    def was_made(self) -> None:
        """The step is no longer the next one."""
        self.steps.count += 1

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
        self,
        gradient: Tensor,
        weights: Tensor,
        mean: Tensor,
        square: Tensor,
        counts: Tensor,
        rate: Tensor,
        root: Tensor,
        shrinkage: Tensor,
        part: Tensor,
        second: Tensor,
        part_of_square: Tensor,
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Adam (Kingma and Ba 2015, algorithm 1) or AdamW (Loshchilov and Hutter 2019, algorithm 2).

        * rate: the learning rate / (1 - β₁ᵗ). root: √(1 - β₂ᵗ). shrinkage: 1 - learning rate × weight decay.
        * part: 1 - β₁. second: β₂. part_of_square: 1 - β₂.
        """
        decay = self._traced["weight_decay"]
        if self._traced["maximize"]:
            gradient = -gradient
        if self._traced["decoupled_weight_decay"]:
            weights = weights * shrinkage
        elif decay:
            gradient = gradient + decay * weights
        mean = torch.lerp(mean, gradient, part)
        square = second * square + part_of_square * gradient.square()
        size = square.sqrt() / root + self._traced["eps"]
        return weights - rate * mean / size, mean, square, counts + 1
