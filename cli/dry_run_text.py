"""The findings of a dry run as lines of text."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from .text import counted, duration, number, size

if TYPE_CHECKING:
    from ..core.engine.commands.dry_run import DryRun, StageReport


def dry_run_lines(found: DryRun) -> Iterator[str]:
    """Spaces, sizes, and each stage's speed and expert."""
    yield "dry run: each stage has collected one rollout and learned from it; nothing was written"
    yield f"observations  {found.observation_space}"
    for path, shape in found.observations.items():
        yield f"              {path + ': ' if path else ''}{shape}"
    yield f"actions       {found.action_space}"
    threads = f"{found.threads} thread{'s' if found.threads > 1 else ''}"
    yield f"model         {found.parameters:,} parameters, learning with {threads}"
    yield f"memory        {size(found.peak_memory_bytes)} at most so far, in this process"
    yield f"checkpoint    {size(found.checkpoint_bytes)}"
    for stage in found.stages:
        yield from _stage_lines(stage)
    yield f"time          {duration(found.seconds)} for all stages at this speed, if none stops early"


def _stage_lines(stage: StageReport) -> Iterator[str]:
    time = f"{stage.max_stage_steps:,} steps in {duration(stage.seconds)}"
    speed = f"{stage.steps_per_second:,.0f} steps/s"
    yield f"stage         {stage.name}: one rollout is {stage.steps:,} steps, {speed}, so {time}"
    yield f"environments  {stage.environments}"
    if stage.expert is not None:
        played = "no episode ended"
        if stage.expert.mean_return is not None:
            played = f"mean return {number(stage.expert.mean_return)} in {counted(stage.expert.episodes, 'episode')}"
        if stage.expert.success is not None:
            played += f", success {stage.expert.success:.0%}"
        yield f"expert        an action in {stage.expert.available:.1%} of the steps; on its own: {played}"
