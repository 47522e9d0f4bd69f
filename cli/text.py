"""Numbers, times, sizes and curves as short text."""

from __future__ import annotations

import math
from collections.abc import Sequence

_LEVELS = "▁▂▃▄▅▆▇█"


def number(value: float) -> str:
    """A measured value with about four digits: 1,234 · 12.30 · 0.0123 · 1.2e-05."""
    size = abs(value)
    if value == 0 or not math.isfinite(value):
        return f"{value:g}"
    if size < 0.001:
        return f"{value:.1e}"
    return f"{value:.4f}" if size < 1 else f"{value:.2f}" if size < 1000 else f"{value:,.0f}"


def counted(count: int, what: str) -> str:
    """1 episode · 1,200 episodes."""
    return f"{count:,} {what}" if count == 1 else f"{count:,} {what}s"


def duration(seconds: float) -> str:
    """0:05 · 12:05 · 3:12:05 · 2 d 03:12; "?" for a time that nobody knows."""
    if not math.isfinite(seconds):
        return "?"
    minutes, second = divmod(round(seconds), 60)
    hours, minute = divmod(minutes, 60)
    days, hour = divmod(hours, 24)
    if days:
        return f"{days} d {hour:02}:{minute:02}"
    return f"{hours}:{minute:02}:{second:02}" if hours else f"{minute}:{second:02}"


def size(count: float) -> str:
    """A number of bytes: 512 B · 1.5 kB · 24.0 MB."""
    for unit in ("B", "kB", "MB"):
        if count < 1000:
            return f"{count:.0f} B" if unit == "B" else f"{count:.1f} {unit}"
        count /= 1000
    return f"{count:.1f} GB"


def sparkline(values: Sequence[float], low: float | None = None, high: float | None = None) -> str:
    """One character for each value, from `low` to `high` (None: their own smallest and greatest); " " for NaN."""
    finite = [value for value in values if math.isfinite(value)]
    if not finite:
        return " " * len(values)
    low, high = min(finite) if low is None else low, max(finite) if high is None else high
    top = len(_LEVELS) - 1
    scale = top / (high - low) if high > low else 0.0
    base = 0 if high > low else top // 2
    levels = [base + round((value - low) * scale) if math.isfinite(value) else None for value in values]
    return "".join(" " if level is None else _LEVELS[min(max(level, 0), top)] for level in levels)


def bar(share: float, width: int) -> str:
    """A share from 0 to 1 as a bar of this many characters."""
    done = round(min(max(share, 0.0), 1.0) * width)
    return "━" * done + "╌" * (width - done)
