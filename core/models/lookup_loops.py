"""The gradient of a table on a CPU number by number: what `lookup` says in torch's operations."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from .machine_code import compiled


@compiled
def add_rows(found: NDArray[np.float32], gradient: NDArray[np.float32], indices: NDArray[np.integer]) -> None:
    """Add each row of the gradient (N, n) to the row of found (rows, n) that its index (N,) names, one after the other:
    the bits are those of `index_add_`, which takes three to thirty times as long for rows of a few numbers."""
    for k in range(len(indices)):
        row = indices[k]
        for i in range(found.shape[1]):
            found[row, i] += gradient[k, i]
