"""Where each run of a folder stands, read from what it wrote; nothing of its experiment is loaded."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from ...errors import CheckpointError, UsageError
from ...metrics import LoggingPackage
from ..reporting.metrics_file import read_packages
from ..saving.run_directory import KILLED, RUNNING, RunDirectory, last_status

NEW, DAMAGED = "new", "damaged"
RETURN = "episode/return"


@dataclass(frozen=True)
class RunSummary:
    """One run, in a line.

    * state: "running", how its last attempt ended ("complete", "preempted", "interrupted", "failed", "killed"), "new"
      if it has not begun, or "damaged".
    * stage, total_steps: where it is; None and 0 where nothing tells.
    * best_return, last_return: the greatest and the last mean return of an interval of the present stage; None without
      episodes.
    * steps_per_second: of the last interval.
    * age: seconds since it was begun. attempts: how often it was started.
    """

    run: str
    state: str
    stage: str | None
    total_steps: int
    best_return: float | None
    last_return: float | None
    steps_per_second: float | None
    age: float | None
    attempts: int

    def to_json(self) -> dict[str, Any]:
        """The entry that `--json` prints."""
        return asdict(self)


def list_runs(runs_dir: Path) -> list[RunSummary]:
    """All runs of a folder, the newest last. Raises `UsageError` if there is no such folder."""
    if not runs_dir.is_dir():
        raise UsageError(f"there is no folder {runs_dir}", "name another one: trainctl runs --runs-dir DIR")
    now = datetime.now(UTC)
    found = [summary_of(directory, now) for directory in RunDirectory.all_in(runs_dir)]
    return sorted(found, key=lambda run: -(run.age or 0.0))


def summary_of(directory: RunDirectory, now: datetime) -> RunSummary:
    """Where this run stands at this moment. One whose `run.json` cannot be read is "damaged"."""
    try:
        record = directory.read_run()
        attempts = list(record["attempts"])
        state = state_of(directory, record)
        started = datetime.fromisoformat(attempts[0]["started"]) if attempts else None
    except (CheckpointError, KeyError, TypeError, ValueError):
        return RunSummary(str(directory.path), DAMAGED, None, 0, None, None, None, None, 0)
    packages = [package for package in read_packages(directory.metrics) if package.kind == "train"]
    last = packages[-1] if packages else None
    returns = _returns_of_stage(packages)
    return RunSummary(
        run=str(directory.path),
        state=state,
        stage=last.stage if last else record.get("stage"),
        total_steps=max(last.total_steps if last else 0, record.get("total_steps", 0) if state != RUNNING else 0),
        best_return=max(returns, default=None),
        last_return=returns[-1] if returns else None,
        steps_per_second=last.means.get("speed/steps_per_second") if last else None,
        age=(now - started).total_seconds() if started else None,
        attempts=len(attempts),
    )


def state_of(directory: RunDirectory, record: dict[str, Any]) -> str:
    """How the last attempt of a run ended, or that it goes on. One that never said how it ended was killed."""
    status = last_status(record) or NEW
    return KILLED if status == RUNNING and not directory.is_in_use() else status


def _returns_of_stage(packages: Sequence[LoggingPackage]) -> list[float]:
    """The mean returns of the intervals of the last stage that is there."""
    return [
        package.means[RETURN]
        for package in packages
        if package.stage_index == packages[-1].stage_index and RETURN in package.means
    ]
