"""What was measured, as a table and a picture. Plain arithmetic: knows neither the workloads nor how they are run."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from statistics import median

OURS, OURS_COMPILED = BOTH = "trainctl", "trainctl --compile"
DASH = "–"


@dataclass(frozen=True)
class Measured:
    """One workload. speeds: steps per second of each program in each round; floors: microseconds per step in each."""

    title: str
    when: str
    speeds: dict[str, list[float]]
    floors: list[dict[str, float]] = field(default_factory=list)

    def ratio(self, ours: str, peer: str) -> float | None:
        """Of the medians; None where one of the two has no such workload."""
        if not (self.speeds.get(ours) and self.speeds.get(peer)):
            return None
        return median(self.speeds[ours]) / median(self.speeds[peer])

    def over_floor(self, ours: str) -> float | None:
        """Our time per step over that of environment and network alone, of medians."""
        if not (self.speeds.get(ours) and self.floors):
            return None
        return 1e6 / median(self.speeds[ours]) / median(sum(one.values()) for one in self.floors)


def spread(speeds: Sequence[float]) -> str:
    """Median with minimum and maximum."""
    return f"{median(speeds):,.0f} ({min(speeds):,.0f}–{max(speeds):,.0f})" if speeds else DASH


def pair(values: Sequence[float | None]) -> str:
    """Eager / compiled."""
    if all(value is None for value in values):
        return DASH
    return " / ".join(DASH if value is None else f"{value:.2f}" for value in values)


def speeds_row(name: str, found: Measured, peers: Sequence[str], ours: Sequence[str] = BOTH) -> list[str]:
    speeds = [spread(found.speeds.get(program, [])) for program in (*ours, *peers)]
    return [f"{name} {found.title}", *speeds, found.when]


def ratios_row(name: str, found: Measured, peers: Sequence[str], ours: Sequence[str] = BOTH) -> list[str]:
    parts = [f"{median(one[part] for one in found.floors):.0f}" for part in (found.floors or [{}])[0]]
    return [
        f"{name} {found.title}",
        *(pair([found.ratio(own, peer) for own in ours]) for peer in peers),
        " + ".join(parts) or DASH,
        pair([found.over_floor(own) for own in ours]),
    ]


def table(measured: dict[str, Measured], peers: dict[str, str], ours: Sequence[str] = BOTH) -> str:
    """Two tables in Markdown, of speeds and of ratios. peers: script -> what the peer is called; ours: our programs, in
    whose order ratios stand."""
    speeds = ["workload", *ours, *peers.values(), "when"]
    ratios = ["workload", *(f"ratio to {title}" for title in peers.values())]
    ratios += ["floor: environment + network, µs/step", "our time / floor"]
    parts = [
        markdown(header, [make(name, found, list(peers), ours) for name, found in measured.items()])
        for header, make in ((speeds, speeds_row), (ratios, ratios_row))
    ]
    return "\n\n".join(parts)


def markdown(header: list[str], rows: list[list[str]]) -> str:
    return "\n".join("| " + " | ".join(cells) + " |" for cells in (header, ["---"] * len(header), *rows))


COLOURS = ("#1f5fa8", "#7fb2e5", "#d9822b", "#b8a05a", "#7a9a5a", "#999999")
SMALL = 'font-size="10" paint-order="stroke" stroke="white" stroke-width="3"'  # readable on the line at 1


def picture(measured: dict[str, Measured], peers: dict[str, str], width: int = 360) -> str:
    """Bars as an SVG: speeds of each workload as multiples of its fastest peer; one without a peer has none."""
    ran = {name: title for name, title in peers.items() if any(found.speeds.get(name) for found in measured.values())}
    titles = {OURS: OURS, OURS_COMPILED: OURS_COMPILED, **ran}
    bars = [(name, found, best) for name, found in measured.items() if (best := _fastest(found, peers))]
    multiples = [
        (name, found, {p: median(s) / best for p, s in found.speeds.items() if s}) for name, found, best in bars
    ]
    scale = width / max((value for _, _, own in multiples for value in own.values()), default=1.0)
    parts, y, left = _legend(titles), 66, 290
    for name, found, own in multiples:
        parts.append(f'<text x="{left - 8}" y="{y + 7 * len(own)}" text-anchor="end">{name} {found.title}</text>')
        for program, value in own.items():
            colour, label = (
                COLOURS[list(titles).index(program)],
                f"{value:.1f} ×  {median(found.speeds[program]):,.0f}/s",
            )
            parts.append(f'<rect x="{left}" y="{y - 9}" width="{value * scale:.1f}" height="12" fill="{colour}"/>')
            parts.append(f'<text x="{left + value * scale + 5:.1f}" y="{y + 1}" {SMALL}>{label}</text>')
            y += 14
        y += 10
    parts.insert(0, f'<line x1="{left + scale:.1f}" x2="{left + scale:.1f}" y1="52" y2="{y - 15}" stroke="#555"/>')
    total = left + width + 110
    size = f'width="{total}" height="{y}" viewBox="0 0 {total} {y}" font-family="sans-serif" font-size="12"'
    background = f'<rect width="{total}" height="{y}" fill="white"/>'
    return f'<svg xmlns="http://www.w3.org/2000/svg" {size}>{background}{"".join(parts)}</svg>\n'


def _fastest(found: Measured, peers: dict[str, str]) -> float:
    return max((median(found.speeds[peer]) for peer in peers if found.speeds.get(peer)), default=0.0)


def _legend(titles: dict[str, str]) -> list[str]:
    """Three in a row."""
    places = [
        (20 + 230 * (number % 3), 8 + 20 * (number // 3), colour, title)
        for number, (colour, title) in enumerate(zip(COLOURS, titles.values(), strict=False))
    ]
    return [
        f'<rect x="{x}" y="{y}" width="12" height="12" fill="{colour}"/><text x="{x + 18}" y="{y + 10}">{title}</text>'
        for x, y, colour, title in places
    ]
