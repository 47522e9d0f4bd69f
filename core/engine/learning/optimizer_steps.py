"""Optimizer steps: as torch makes them, or for Adam on all weights at once, which gives the same numbers sooner."""

from __future__ import annotations

from itertools import compress
from typing import Any

import torch
from torch import Tensor, optim

from .weights import Weights, pieces


class OptimizerSteps:
    """Steps of any optimizer."""

    def __init__(self, optimizer: optim.Optimizer, weights: Weights) -> None:
        self.optimizer, self.weights = optimizer, weights

    def step(self) -> None:
        """One step down the gradients that the parameters have."""
        self.optimizer.step()


class WholeAdamSteps(OptimizerSteps):
    """Adam and AdamW on one vector: for a network of a dozen small tensors a fifth of the time.

    The moments of each parameter, which the optimizer saves and loads, become views of one vector each. A step that
    leaves a parameter out goes from piece to piece, and so does every step while their counts of steps differ.
    """

    def __init__(self, optimizer: optim.Optimizer, weights: Weights) -> None:
        super().__init__(optimizer, weights)
        (self.vector,), (self.gradient,) = weights.vectors, weights.gradients
        self.moments = {name: torch.zeros_like(self.vector) for name in ("exp_avg", "exp_avg_sq")}
        self.counts = self.vector.new_zeros(len(weights.parameters), dtype=torch.float32)
        vectors = {"weights": self.vector, "gradient": self.gradient, **self.moments}
        self._pieces = {name: pieces(vector, weights.parameters) for name, vector in vectors.items()}
        self._pieces["step"] = list(self.counts.unbind())
        self._take_over(optimizer.state)
        self._look_at_counts()

    @staticmethod
    def fits(optimizer: optim.Optimizer, weights: Weights) -> bool:
        """Whether the optimizer is one whose steps these are."""
        if type(optimizer) not in (optim.Adam, optim.AdamW) or len(optimizer.param_groups) > 1:
            return False
        group = optimizer.param_groups[0]
        plain = not (group["amsgrad"] or group["differentiable"] or group["capturable"])
        return bool(group["fused"]) and plain and len(weights.vectors) == 1

    def _take_over(self, state: Any) -> None:
        for i, parameter in enumerate(self.weights.parameters):
            for name in ("exp_avg", "exp_avg_sq", "step"):
                own = self._pieces[name][i]
                if name in state[parameter]:
                    own.copy_(state[parameter][name])
                state[parameter][name] = own

    def _look_at_counts(self) -> None:
        self.same_counts = bool((self.counts == self.counts[0]).all())
        self.count = int(self.counts[0])  # of each parameter, where they are the same

    def step(self) -> None:
        if self.same_counts and self.weights.all_used:
            self.counts.add_(1)
            self.count += 1
            mean, square = self.moments.values()
            self._descend([self.vector], [self.gradient], [mean], [square], [self.counts[0]])
            return
        used = [parameter.grad is not None for parameter in self.weights.parameters]
        weights, gradient, means, squares, counts = (list(compress(own, used)) for own in self._pieces.values())
        torch._foreach_add_(counts, 1)
        self._descend(weights, gradient, means, squares, counts)
        self._look_at_counts()

    def _descend(
        self,
        weights: list[Tensor],
        gradient: list[Tensor],
        means: list[Tensor],
        squares: list[Tensor],
        counts: list[Tensor],
    ) -> None:
        """One step of these; counts: of their steps, this one included."""
        group = self.optimizer.param_groups[0]
        step = torch._fused_adamw_ if group["decoupled_weight_decay"] else torch._fused_adam_
        first, second = group["betas"]
        rates = {name: group[name] for name in ("lr", "weight_decay", "eps", "maximize")}
        step(weights, gradient, means, squares, [], counts, amsgrad=False, beta1=first, beta2=second, **rates)


def steps_of(optimizer: optim.Optimizer, weights: Weights) -> OptimizerSteps:
    """The fastest steps that there are of this optimizer."""
    return (WholeAdamSteps if WholeAdamSteps.fits(optimizer, weights) else OptimizerSteps)(optimizer, weights)


def keep_compiler_out() -> None:
    """Have torch's optimizers do without torch's compiler.

    They import it, which takes as long as torch itself, only to tell it not to look at these methods.
    """
    for method in ("add_param_group", "load_state_dict", "state_dict", "zero_grad"):
        function = getattr(getattr(optim.Optimizer, method), "__wrapped__", None)
        if function is not None:
            vars(function).setdefault("__dynamo_disable", function)
