"""Weights & Biases as one more sink.

Its service takes no point back. So it is told of an interval only when a checkpoint holds it: a run that is killed and
goes on has each point once.
"""

from __future__ import annotations

import math
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ...errors import UsageError
from ...metrics import LoggingPackage

OFFLINE, ONLINE = "offline", "online"


class WandbSink:
    """Means over total steps, as one run of Weights & Biases.

    * run: what `wandb.init` gave.
    """

    def __init__(self, run: Any) -> None:
        self._run = run
        self._held: dict[int, dict[str, float]] = {}  # total steps -> tag -> mean
        self._told = 0  # total steps of the last point that was told

    def write(self, package: LoggingPackage) -> None:
        """Kept until the next checkpoint, or the end. A validation before what was told stands just after."""
        if package.should_log:
            shown = {"pipeline/stage": float(package.stage_index)} if package.kind == "train" else {}
            shown |= {tag: mean for tag, mean in package.means.items() if math.isfinite(mean)}
            steps = max(package.total_steps, self._told + 1)
            self._held.setdefault(steps, {}).update(shown)

    def note(self, tag: str, text: str, total_steps: int) -> None:
        """Not told: the stage is among the metrics."""

    def close(self) -> None:
        """Tell the rest; the run is over for now."""
        self._tell()
        self._run.finish()

    def state_dict(self) -> dict[str, Any]:
        """A checkpoint is being written: what it holds can be told. How far that is is saved."""
        self._tell()
        return {"told": self._told}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on with the points after the checkpoint."""
        self._told = state.get("told", 0)

    def _tell(self) -> None:
        for steps, means in sorted(self._held.items()):
            self._run.log(means, step=steps, commit=True)
            self._told = steps
        self._held.clear()


def need_wandb() -> None:
    """Raise `UsageError` where Weights & Biases is not installed."""
    try:
        import wandb  # noqa: F401
    except ImportError as error:
        hint = "pip install 'trainctl[wandb]', or leave out --wandb"
        raise UsageError("--wandb needs Weights & Biases, which is not installed", hint) from error


def wandb_sink(mode: str, id: str, directory: Path, parameters: dict[str, Any], warn: Callable[[str], None]) -> Any:
    """The sink of the run with this id; it is begun, or goes on.

    mode: "offline" writes to the run directory, for `wandb sync` to send later, and does nothing on the network;
    "online" sends at once, and where that cannot be, it is as offline, with a warning. directory: of our run.
    """
    os.environ.setdefault("WANDB_ERROR_REPORTING", "false")
    import wandb

    def begin(mode: str) -> WandbSink:
        quiet = wandb.Settings(console="off", silent=True, x_disable_stats=True, save_code=False, init_timeout=60)
        return WandbSink(
            wandb.init(
                mode=mode,  # type: ignore[arg-type, unused-ignore]
                id=id,
                resume="allow",
                dir=str(directory),
                project=os.environ.get("WANDB_PROJECT", "trainctl"),
                name=directory.name,
                config=parameters,
                settings=quiet,
            )
        )

    if mode == ONLINE:
        try:
            if wandb.api.api_key is None:
                raise wandb.Error("nobody is logged in: type `wandb login`")
            return begin(ONLINE)
        except (wandb.Error, OSError) as error:
            warn(f"W&B cannot be told: {error}. Send it later: wandb sync {directory}/wandb/offline-*")
    return begin(OFFLINE)
