"""Weights: the parameters that are trained, and their gradient, as one vector each."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from ..workers.workers import WorkerGroup


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
        # the parameters in each of `vectors`
        self._of_vector = [[p for p in self.parameters if (p.dtype, p.device) == kind] for kind in kinds]
        for own in self._of_vector:
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
        found = [parameter.grad for parameter in self.parameters]
        self.take(self.joined(found), [gradient is not None for gradient in found])

    def joined(self, gradients: Sequence[Tensor | None]) -> list[Tensor]:
        """The gradient as one vector for each of `vectors`, from that of each parameter: zeros for None."""
        found = dict(zip(self.parameters, gradients, strict=True))
        return [torch.cat([_flat(found[parameter], parameter) for parameter in own]) for own in self._of_vector]

    def cut(self, vectors: Sequence[Tensor]) -> list[Tensor]:
        """Vectors as in `vectors` cut into what each parameter would be."""
        own = zip(vectors, self._of_vector, strict=True)
        found = {
            parameter: piece for vector, ps in own for parameter, piece in zip(ps, pieces(vector, ps), strict=True)
        }
        return [found[parameter] for parameter in self.parameters]

    def take(self, vectors: Sequence[Tensor], used: Sequence[bool]) -> None:
        """Set the gradient to what `joined` gave. used: for each parameter, whether it has one."""
        for gradient, vector in zip(self.gradients, vectors, strict=True):
            gradient.copy_(vector)
        for parameter, is_used in zip(self.parameters, used, strict=True):
            wanted = self._pieces[parameter] if is_used else None
            if parameter.grad is not wanted:
                parameter.grad = wanted

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


def _flat(gradient: Tensor | None, parameter: nn.Parameter) -> Tensor:
    """The numbers of a gradient in the order in which those of its parameter lie in memory; zeros for None."""
    if gradient is None:
        return parameter.new_zeros(parameter.numel())
    strides = torch.empty_like(parameter).stride()
    return gradient.permute(sorted(range(gradient.dim()), key=lambda axis: -strides[axis])).reshape(-1)


def pieces(vector: Tensor, parameters: Sequence[nn.Parameter]) -> list[Tensor]:
    """A vector cut into views with the shapes of the parameters, each laid out in memory as its parameter is."""
    found, start = [], 0
    for parameter in parameters:
        found.append(vector.as_strided(parameter.shape, torch.empty_like(parameter).stride(), start))
        start += parameter.numel()
    return found
