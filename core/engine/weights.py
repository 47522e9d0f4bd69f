"""Weights: the parameters that are trained, and their gradient, as one vector each."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from .workers import WorkerGroup


class Weights:
    """So norm, clipping, averaging over workers and Adam are one operation each: a small model spends more time on
    calls for each of its tensors than on arithmetic.

    The model's parameters become views of `vectors`, and their gradients views of `gradients`; there is one vector for
    each type of number. A parameter that a loss does not depend on has the gradient None, as in torch, and zeros in the
    vector.
    """

    def __init__(self, model: nn.Module) -> None:
        self.parameters = [parameter for parameter in model.parameters() if parameter.requires_grad]
        kinds = dict.fromkeys((parameter.dtype, parameter.device) for parameter in self.parameters)
        self.vectors, self.gradients = list[Tensor](), list[Tensor]()
        self._pieces: dict[nn.Parameter, Tensor] = {}  # of the gradients
        for kind in kinds:
            own = [parameter for parameter in self.parameters if (parameter.dtype, parameter.device) == kind]
            self._join(own)

    def _join(self, parameters: Sequence[nn.Parameter]) -> None:
        vector = parameters[0].new_zeros(sum(parameter.numel() for parameter in parameters))
        gradient = torch.zeros_like(vector)
        for parameter, piece, own in zip(
            parameters, pieces(vector, parameters), pieces(gradient, parameters), strict=True
        ):
            parameter.data = piece.copy_(parameter.data)
            self._pieces[parameter] = own
        self.vectors.append(vector)
        self.gradients.append(gradient)

    @property
    def all_used(self) -> bool:
        """Whether the last loss depended on every parameter."""
        return all(parameter.grad is not None for parameter in self.parameters)

    def backward(self, loss: Tensor) -> None:
        """Set the gradient to that of the loss."""
        for parameter in self.parameters:
            parameter.grad = None
        torch.autograd.backward(loss)
        self.set_gradient([parameter.grad for parameter in self.parameters])

    def set_gradient(self, gradients: Sequence[Tensor | None]) -> None:
        """Set the gradient of each parameter; None where a loss does not depend on it."""
        if any(gradient is None for gradient in gradients):
            for vector in self.gradients:
                vector.zero_()
        used = [(p, found) for p, found in zip(self.parameters, gradients, strict=True) if found is not None]
        own = [self._pieces[parameter] for parameter, _ in used]
        torch._foreach_copy_(own, [found for _, found in used])
        for parameter in self.parameters:
            parameter.grad = None
        for (parameter, _), piece in zip(used, own, strict=True):
            parameter.grad = piece

    def average(self, loss: Tensor, size: int, workers: WorkerGroup) -> Tensor:
        """Average the gradient over workers, by `size`. Returns the averaged loss.

        * loss: scalar, a mean over `size` samples of this worker; so uneven shares give the gradient of the mean over
          all. A parameter that no worker's loss depends on keeps None as its gradient.

        What is not finite on one worker is not finite on all afterwards, so that all can stop together.
        """
        if workers.world_size == 1:
            return loss.detach()
        used = [float(parameter.grad is not None) for parameter in self.parameters]
        counts = loss.new_tensor([*used, float(size)])
        own = [*self.gradients, loss.detach().view(1)]
        everything = torch.cat([*(part.to(loss.dtype) * size for part in own), counts])
        workers.sum_tensors([everything])
        *averaged, flags = (everything / everything[-1]).split([*map(len, own), len(counts)])
        for vector, average in zip(self.gradients, averaged, strict=False):
            vector.copy_(average)
        for parameter, is_used in zip(self.parameters, flags.tolist(), strict=False):
            parameter.grad = self._pieces[parameter] if is_used else None
        mean: Tensor = averaged[-1].squeeze(0)
        return mean

    def norm(self, norm_type: float) -> Tensor:
        """The norm of the whole gradient. norm_type: 2, inf, …"""
        norms: list[Tensor] = [torch.linalg.vector_norm(gradient, norm_type) for gradient in self.gradients]
        if len(norms) > 1:
            norms = [torch.linalg.vector_norm(torch.stack(norms), norm_type)]
        return norms[0]

    def clip(self, norm: Tensor, largest: float) -> None:
        """Scale the gradient, in place, so that its norm, which is `norm`, becomes `largest` at most."""
        factor = (largest / (norm + 1e-6)).clamp(max=1.0)
        for gradient in self.gradients:
            gradient.mul_(factor)


def pieces(vector: Tensor, parameters: Sequence[nn.Parameter]) -> list[Tensor]:
    """A vector cut into views with the shapes of the parameters, each laid out in memory as its parameter is."""
    found, start = [], 0
    for parameter in parameters:
        found.append(vector.as_strided(parameter.shape, torch.empty_like(parameter).stride(), start))
        start += parameter.numel()
    return found
