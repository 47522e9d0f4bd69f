"""Curves over steps as an SVG; it needs no library."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

WIDTH, HEIGHT, LEFT = 640, 320, 50


class Plot:
    """Curves over 0 to `steps`, between 0 and `top`. A legend entry for each colour stands below the axis."""

    def __init__(self, steps: float, top: float = 1.0) -> None:
        self.steps, self.top, self._names = steps, top, 0
        self._parts = [f'<rect width="{WIDTH + LEFT + 20}" height="{HEIGHT + 60}" fill="white"/>']
        for share in (0.0, 0.25, 0.5, 0.75, 1.0):
            y, x = 10 + HEIGHT * (1 - share), LEFT + WIDTH * share
            self._parts.append(f'<line x1="{LEFT}" x2="{LEFT + WIDTH}" y1="{y}" y2="{y}" stroke="#ddd"/>')
            self._parts.append(f'<text x="{LEFT - 6}" y="{y + 4}" text-anchor="end">{share * top:g}</text>')
            self._parts.append(f'<text x="{x}" y="{HEIGHT + 28}" text-anchor="middle">{int(share * steps):,}</text>')

    def line(self, points: Iterable[tuple[float, float]], colour: str) -> None:
        self._parts.append(f'<polyline points="{self._at(points)}" fill="none" stroke="{colour}" stroke-width="1.6"/>')

    def band(self, lower: list[tuple[float, float]], upper: list[tuple[float, float]], colour: str) -> None:
        around = self._at([*lower, *reversed(upper)])
        self._parts.append(f'<polygon points="{around}" fill="{colour}" fill-opacity="0.15"/>')

    def name(self, text: str, colour: str) -> None:
        x = LEFT + 200 * self._names
        self._parts.append(f'<text x="{x}" y="{HEIGHT + 50}" fill="{colour}">{text}</text>')
        self._names += 1

    def write(self, file: Path) -> None:
        size = f'width="{WIDTH + LEFT + 20}" height="{HEIGHT + 60}" font-family="sans-serif" font-size="12"'
        file.write_text(f'<svg xmlns="http://www.w3.org/2000/svg" {size}>{"".join(self._parts)}</svg>\n')

    def _at(self, points: Iterable[tuple[float, float]]) -> str:
        return " ".join(
            f"{LEFT + WIDTH * step / self.steps:.1f},{10 + HEIGHT * (1 - value / self.top):.1f}"
            for step, value in points
        )
