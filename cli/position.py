"""Where a run stands, as its checkpoint says."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ..core.engine.progress import Progress
from ..core.engine.saving.from_checkpoint import chosen_checkpoint
from ..core.engine.saving.run_directory import RunDirectory
from ..core.experiment import Experiment
from .console import warn
from .text import bar


def position_of(directory: RunDirectory, path: Path, experiment: Experiment) -> dict[str, Any]:
    """Where the run stands at the checkpoint `path`; if `path` is the run itself, at its newest valid one.

    share: of the steps of all stages that is done, 1 for a finished run; None if a budget is not yet known.
    """
    names = experiment.pipeline.stage_names()
    checkpoint = chosen_checkpoint(path, directory, warn)
    progress, record = Progress(), directory.read_run()
    if checkpoint is not None:
        progress.load_state_dict(checkpoint.shared()["progress"])
    index = min(progress.stage_index, len(names) - 1)
    finished = len(progress.stages) == len(names)
    return {
        "path": str(directory.path),
        "checkpoint": str(checkpoint.path) if checkpoint else None,
        "finished": finished,
        "stage": names[index],
        "stage_index": index,
        "stage_steps": progress.stage_steps,
        "stage_budget": progress.stage_budget,
        "total_steps": progress.total_steps,
        "share": 1.0 if finished else _share(progress, experiment),
        "threads": record["threads"],
        "compile": record.get("compile", False),
        "bfloat16": record.get("bfloat16", False),
    }


def position_line(position: dict[str, Any], stages: int) -> str:
    """The position in words, and on a second line what the run was begun with that its bits depend on."""
    share = position["share"]
    where = (
        "finished"
        if position["finished"]
        else f"in stage {position['stage_index'] + 1} of {stages}, {position['stage']!r}"
    )
    drawn = "" if share is None else f"{bar(share, 20)} {share:.0%}  "
    last = position["checkpoint"] or "none yet"
    threads = f"learning with {position['threads']} thread{'s' if position['threads'] > 1 else ''}"
    ways = [word for name, word in (("compile", "compiled"), ("bfloat16", "in bfloat16")) if position[name]]
    how = ", ".join([threads, *ways])
    return f"{drawn}{where}, {position['total_steps']:,} steps, checkpoint {last}\n{how}"


def _share(progress: Progress, experiment: Experiment) -> float | None:
    """Finished stages count as much as they were allowed to take, so that an early stop moves the share forward."""
    budgets = [stage.max_stage_steps for stage in experiment.pipeline]
    known = [budget for budget in budgets if isinstance(budget, int)]
    if len(known) < len(budgets):
        return None
    done = len(progress.stages)
    now = 0 if progress.stage_ended else min(progress.stage_steps, known[done])
    return (sum(known[:done]) + now) / sum(known)
