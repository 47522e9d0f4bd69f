"""Machine code that Numba makes of loops over numbers: decision 6."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from typing import Any, TypeVar, cast

from numba import njit
from numba.core.caching import FunctionCache

Function = TypeVar("Function", bound=Callable[..., object])

OPTIONS: Any = {"nogil": True, "error_model": "numpy", "fastmath": {"contract"}}
"""A product and its sum may be rounded at once; no other freedom is given, so that what is not finite stays so."""


class Kept(FunctionCache):
    """Machine code in a file beside the function's, where `NUMBA_CACHE_DIR` says, or in the user's folder for caches.

    What cannot be written (a full disk) or read (one that was full) ends no training: it is compiled once more.
    """

    def load_overload(self, sig: Any, target_context: Any) -> Any:
        try:
            return super().load_overload(sig, target_context)  # type: ignore[no-untyped-call]
        except Exception:  # whatever unpickling half a file may raise
            with contextlib.suppress(OSError):
                self.flush()  # type: ignore[no-untyped-call]
            return None

    def save_overload(self, sig: Any, data: Any) -> None:
        with contextlib.suppress(OSError):
            super().save_overload(sig, data)  # type: ignore[no-untyped-call]


def compiled(function: Function) -> Function:
    """Machine code in place of the function, made when it is first called."""
    made: Any = njit(function, **OPTIONS)
    with contextlib.suppress(RuntimeError):  # there is no place for it
        made._cache = Kept(function)  # type: ignore[no-untyped-call]  # where cache=True has Numba's own
    return cast("Function", made)
