"""What a few numbers, one of each run, say about all the runs there could have been."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np

from ..seeding import stream

RESAMPLES = 2000


class Spread(NamedTuple):
    """Of `runs` runs the mean, the interquartile mean, and the 95 % interval of each; of one run no interval."""

    runs: int
    mean: float
    interquartile_mean: float
    mean_ci95: tuple[float, float] | None
    interquartile_mean_ci95: tuple[float, float] | None


def spread(values: Sequence[float]) -> Spread:
    """The spread of at least one value."""
    array = np.array(values, dtype=np.float64)
    return Spread(
        runs=len(array),
        mean=float(array.mean()),
        interquartile_mean=interquartile_mean(array),
        mean_ci95=bootstrap_interval(array, np.mean),
        interquartile_mean_ci95=bootstrap_interval(array, interquartile_mean),
    )


def interquartile_mean(values: np.ndarray) -> float:
    """The mean without the lowest and the highest quarter (each rounded down), as Agarwal et al. 2021 recommend for few
    runs. values: (n,), n ≥ 1; below 4 it is the mean."""
    cut = len(values) // 4
    return float(np.sort(values)[cut : len(values) - cut].mean())


def bootstrap_interval(values: np.ndarray, statistic: Callable[[np.ndarray], float]) -> tuple[float, float] | None:
    """The percentile bootstrap's 95 % interval of a statistic of (n,) values; None for one value. The same values give
    the same interval."""
    if len(values) < 2:
        return None
    resampled = stream(0, "bootstrap").choice(values, (RESAMPLES, len(values)))
    low, high = np.percentile([statistic(one) for one in resampled], [2.5, 97.5])
    return float(low), float(high)
