"""Gradients of one loss, averaged over workers: one flat all-reduce for each update."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from .workers import WorkerGroup


def total_norm(gradients: list[Tensor], norm_type: float) -> Tensor:
    """The norm of all gradients as one vector; norm_type: 2, inf, …"""
    # as torch.nn.utils.get_total_norm, which spends most of its time on sorting the tensors by device and type
    norm: Tensor = torch.linalg.vector_norm(torch.stack(torch._foreach_norm(gradients, norm_type)), norm_type)
    return norm


def clip(gradients: list[Tensor], norm: Tensor, largest: float) -> None:
    """Scale the gradients, in place, so that their norm is `largest` at most."""
    torch._foreach_mul_(gradients, (largest / (norm + 1e-6)).clamp(max=1.0))


def backward(loss: Tensor, parameters: Sequence[nn.Parameter]) -> None:
    """Set the parameters' gradients to those of the loss; None where it does not depend on one."""
    for parameter in parameters:
        parameter.grad = None
    torch.autograd.backward(loss)


def average(loss: Tensor, size: int, parameters: Sequence[nn.Parameter], workers: WorkerGroup) -> Tensor:
    """Average the parameters' gradients over workers, by `size`. Returns the averaged loss.

    * loss: scalar, a mean over `size` samples of this worker; so uneven shares give the gradient of the mean over all.
    * parameters: one that no worker's loss depends on keeps None as its gradient, on any number of workers.

    What is not finite on one worker is not finite on all afterwards, so that all can stop together.
    """
    if workers.world_size == 1:
        return loss.detach()
    used = loss.new_tensor([float(parameter.grad is not None) for parameter in parameters])
    own = [torch.zeros_like(p) if p.grad is None else p.grad for p in parameters]
    flat = torch.cat([gradient.flatten() * size for gradient in own] + [loss.detach().view(1) * size])
    weight = loss.new_tensor([float(size)])
    everything = torch.cat([flat, used, weight])
    workers.sum_tensors([everything])
    flat, used, weight = everything.split([len(flat), len(used), 1])
    *pieces, averaged = (flat / weight).split([gradient.numel() for gradient in own] + [1])
    for parameter, piece, is_used in zip(parameters, pieces, used.tolist(), strict=True):
        parameter.grad = piece.view_as(parameter) if is_used else None
    result: Tensor = averaged.squeeze(0)
    return result
