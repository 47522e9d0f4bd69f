from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from trainctl.core.shares import evenly_distribute_count_into_bins


def test_the_bigger_shares_come_first() -> None:
    assert evenly_distribute_count_into_bins(7, 3) == [3, 2, 2]
    assert evenly_distribute_count_into_bins(8, 3) == [3, 3, 2]


def test_one_bin_gets_everything_and_as_many_bins_as_things_get_one_each() -> None:
    assert evenly_distribute_count_into_bins(5, 1) == [5]
    assert evenly_distribute_count_into_bins(4, 4) == [1, 1, 1, 1]


@given(nbins=st.integers(1, 200), more=st.integers(0, 10_000))
def test_shares_are_positive_descending_sum_to_the_count_and_differ_by_one_at_most(nbins: int, more: int) -> None:
    shares = evenly_distribute_count_into_bins(nbins + more, nbins)
    assert len(shares) == nbins
    assert sum(shares) == nbins + more
    assert shares == sorted(shares, reverse=True)
    assert min(shares) >= 1
    assert max(shares) - min(shares) <= 1


def test_integers_of_numpy_give_shares_of_python() -> None:
    shares = evenly_distribute_count_into_bins(np.int64(7), np.int64(3))  # type: ignore[arg-type]
    assert shares == [3, 2, 2]
    assert {type(share) for share in shares} == {int}


@pytest.mark.parametrize(
    ("count", "nbins"), [(2, 3), (0, 1), (-4, 2), (7, 0), (7, -1), (7.0, 3), (7, 3.0), ("7", 3), (None, 1), (True, 1)]
)
def test_what_cannot_be_binned_is_refused_by_its_values(count: Any, nbins: Any) -> None:
    with pytest.raises(ValueError, match="evenly_distribute_count_into_bins") as refused:
        evenly_distribute_count_into_bins(count, nbins)
    assert f"count={count!r}, nbins={nbins!r}" in str(refused.value)
