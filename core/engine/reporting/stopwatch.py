"""Stopwatch: where the time of an interval goes."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator


class Stopwatch:
    """Seconds spent in named phases since the last `lap`."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}
        self._started = time.perf_counter()

    @contextlib.contextmanager
    def phase(self, name: str) -> Iterator[None]:
        """Add the time spent within this context to the phase."""
        started = time.perf_counter()
        try:
            yield
        finally:
            self.add(name, time.perf_counter() - started)

    def add(self, name: str, seconds: float) -> None:
        """Add seconds to a phase; phases may be parts of others."""
        self.seconds[name] = self.seconds.get(name, 0.0) + seconds

    def lap(self) -> tuple[float, dict[str, float]]:
        """Seconds since the last lap and each phase's share of them; begins the next lap."""
        now = time.perf_counter()
        total = max(now - self._started, 1e-9)
        shares = {name: seconds / total for name, seconds in self.seconds.items()}
        self._started, self.seconds = now, {}
        return total, shares
