"""Dealing a count into shares, such as environments to workers."""

from __future__ import annotations

import operator
from itertools import accumulate, pairwise


def evenly_distribute_count_into_bins(count: int, nbins: int) -> list[int]:
    """Distribute `count` things into `nbins` bins as evenly as possible.

    The bigger shares come first: 7 things into 3 bins are `[3, 2, 2]`.

    * count: how many things there are, ≥ nbins.
    * nbins: how many bins there are, ≥ 1.

    Gives `nbins` positive integers, which sum to `count` and differ by at most 1. Raises `ValueError` if a value is no
    integer, if there is no bin, or if a bin would stay empty.
    """
    asked = f"evenly_distribute_count_into_bins(count={count!r}, nbins={nbins!r})"
    if not (_is_integer(count) and _is_integer(nbins)):
        raise ValueError(f"{asked}: both must be integers.")
    if nbins < 1:
        raise ValueError(f"{asked}: there must be at least one bin.")
    if count < nbins:
        raise ValueError(f"{asked}: {count} cannot fill {nbins} bins; raise count or lower nbins.")
    share, left_over = divmod(operator.index(count), operator.index(nbins))
    return [share + 1] * left_over + [share] * (nbins - left_over)


def evenly_distributed_ranges(count: int, nbins: int) -> list[range]:
    """The same bins, each as the indices of the things in it."""
    ends = accumulate(evenly_distribute_count_into_bins(count, nbins), initial=0)
    return [range(start, end) for start, end in pairwise(ends)]


def _is_integer(value: object) -> bool:
    return hasattr(value, "__index__") and not isinstance(value, bool)
