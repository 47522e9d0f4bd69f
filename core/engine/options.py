"""What is asked of a training, and how it ended."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from .adjustments import NO_ADJUSTMENTS, Adjustments
from .workers.workers import ONE_PROCESS, Fleet, is_one_of_many


@dataclass(frozen=True)
class RunOptions:
    """What the command line says about a new run.

    * experiment: the file. settings: `--set` as name -> text.
    * seed: whole number ≥ 0. device, deterministic: see `device.prepare`. compile: see `CompiledGradients`.
    * bfloat16: see `learn_in_bfloat16`.
    * profile: how many rollouts to profile, see `profiled`.
    * name: of the run directory; None: made up. runs_dir: where run directories are.
    * init_from: a run or checkpoint whose weights the model begins with; None: fresh ones.
    * keep: how many checkpoints stay, beside each stage's last; None: all.
    * adjustments: what is changed without touching the file.
    * wandb: "offline" or "online": Weights & Biases is told as well; None: it is not.
    * histograms, films: TensorBoard gets the distributions of the parameters, and animated episodes.
    * fleet: how many workers.
    """

    experiment: Path
    settings: Mapping[str, str] = field(default_factory=dict)
    seed: int = 0
    device: str = "auto"
    deterministic: bool = False
    compile: bool = False
    bfloat16: bool = False
    profile: int = 0
    name: str | None = None
    runs_dir: Path = Path("runs")
    init_from: Path | None = None
    keep: int | None = None
    adjustments: Adjustments = NO_ADJUSTMENTS
    wandb: str | None = None
    histograms: bool = False
    films: bool = False
    fleet: Fleet = ONE_PROCESS


@dataclass(frozen=True)
class Wish:
    """What a resume wants changed in a run.

    * experiment: the file to go on with; None: the run's own copy. settings: more of `--set`, as name -> text.
    * extend_steps: added to the budget of the last stage.
    * from_stage: begin this stage again from its start; None: go on where the run is.
    * allow_changes: also go on where the training becomes another.
    """

    experiment: Path | None = None
    settings: Mapping[str, str] = field(default_factory=dict)
    extend_steps: int = 0
    from_stage: str | None = None
    allow_changes: bool = False


AS_IT_WAS = Wish()


@dataclass(frozen=True)
class Outcome:
    """How a training ended: status is "complete", "preempted" or "interrupted"; checkpoint is None if none is there."""

    run: Path
    status: str
    total_steps: int
    stage: str
    checkpoint: Path | None
    already_complete: bool = False

    @property
    def exit_code(self) -> int:
        """0 done · 75 preempted, saved: run again · 130 Ctrl-C, saved. One of several workers says 0: see `elastic`."""
        return 0 if is_one_of_many() else {"complete": 0, "preempted": 75, "interrupted": 130}[self.status]

    def to_json(self) -> dict[str, Any]:
        """The document that `--json` prints."""
        return {
            "run": str(self.run),
            "status": self.status,
            "total_steps": self.total_steps,
            "stage": self.stage,
            "checkpoint": None if self.checkpoint is None else str(self.checkpoint),
        }
