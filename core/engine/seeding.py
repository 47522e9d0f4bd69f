"""Random numbers: every stream is a pure function of its key, so there is next to nothing to save."""

from __future__ import annotations

import contextlib
import random
import zlib
from collections.abc import Iterator
from typing import Any

import numpy as np


def set_seed(seed: int | None = None) -> None:
    """Seed Python's `random`, NumPy's global generator and PyTorch (all devices).

    seed: a whole number ≥ 0; None leaves all generators as they are.
    """
    if seed is None:
        return
    import torch

    random.seed(seed)
    np.random.seed(seed % 2**32)
    torch.manual_seed(seed)


def set_deterministic_cudnn() -> None:
    """Make cuDNN deterministic; convolutions may become slower. Without CUDA this has no effect."""
    import torch

    torch.backends.cudnn.deterministic = True
    torch.backends.cudnn.benchmark = False


def stream(seed: int, purpose: str, *key: int) -> np.random.Generator:
    """The random stream of this key: (run seed, purpose, e.g. global environment index, rollout)."""
    return np.random.Generator(np.random.PCG64(_sequence(seed, purpose, key)))


def derived_seed(seed: int, purpose: str, *key: int) -> int:
    """A seed in [0, 2³¹) for somebody else's generator, e.g. an episode's reset."""
    return int(_sequence(seed, purpose, key).generate_state(1)[0]) & 0x7FFFFFFF


def _sequence(seed: int, purpose: str, key: tuple[int, ...]) -> np.random.SeedSequence:
    # crc32, not hash(): hash() of a string differs from process to process
    return np.random.SeedSequence(entropy=seed, spawn_key=(zlib.crc32(purpose.encode()), *key))


class GlobalRandomState:
    """The global generators of Python, NumPy and PyTorch, as one part of a checkpoint.

    trainctl draws from none of them, but models (dropout), losses and environments of users may.
    """

    def state_dict(self) -> dict[str, Any]:
        """Lists, numbers and tensors only, as `torch.load(weights_only=True)` wants them."""
        import torch

        version, internal, gauss = random.getstate()
        name, keys, position, has_gauss, cached = np.random.get_state(legacy=True)
        state: dict[str, Any] = {
            "python": [version, list(internal), gauss],
            "numpy": [name, [int(k) for k in keys], int(position), int(has_gauss), float(cached)],
            "torch": torch.get_rng_state(),
        }
        if torch.cuda.is_available() and torch.cuda.is_initialized():
            state["cuda"] = torch.cuda.get_rng_state_all()
        return state

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Put all generators back. A state of more or fewer GPUs than there are now restores the CPU's only."""
        import torch

        version, internal, gauss = state["python"]
        random.setstate((version, tuple(internal), gauss))
        name, keys, position, has_gauss, cached = state["numpy"]
        np.random.set_state((name, np.array(keys, dtype=np.uint32), position, has_gauss, cached))
        torch.set_rng_state(state["torch"])
        if "cuda" in state and len(state["cuda"]) == torch.cuda.device_count():
            torch.cuda.set_rng_state_all(state["cuda"])


@contextlib.contextmanager
def untouched_global_random_state() -> Iterator[None]:
    """Whatever draws from the global generators within this context leaves them as they were."""
    state = GlobalRandomState()
    before = state.state_dict()
    try:
        yield
    finally:
        state.load_state_dict(before)
