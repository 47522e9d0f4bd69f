"""Curves of groups of runs as a picture."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from ...errors import UsageError
from .run_groups import Group, common_steps

POINTS = 200
"""At most so many of a curve are drawn."""


def plot(groups: Sequence[Group], metric: str, path: Path) -> None:
    """Draw the mean of each group with its 95 % interval over steps. Needs no display.

    Raises `UsageError` without matplotlib, and where the file cannot be written.
    """
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        hint = "pip install 'trainctl[plot]', or leave out --plot"
        raise UsageError("a plot needs matplotlib, which is not installed", hint) from error
    figure = Figure(figsize=(8, 5), layout="constrained")
    axes = figure.subplots()
    for group in groups:
        found = [(step, at) for step in common_steps(group, metric, POINTS) if (at := group.at(metric, step))]
        steps = [step for step, _ in found]
        axes.plot(steps, [at.mean for _, at in found], label=f"{group.label} ({len(group.runs)})")
        bands = [at.mean_ci95 or (at.mean, at.mean) for _, at in found]
        axes.fill_between(steps, [low for low, _ in bands], [high for _, high in bands], alpha=0.2)
    axes.set_xlabel("steps")
    axes.set_ylabel(metric)
    axes.legend()
    try:
        figure.savefig(path, dpi=120)
    except (OSError, ValueError) as error:
        raise UsageError(f"{path} cannot be written: {error}", "name e.g. curves.png") from error
