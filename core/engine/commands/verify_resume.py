"""verify-resume: the proof, for an experiment, that a run which is killed and resumed ends with the same bits.

Run A is left alone. Run B is killed (SIGKILL, whatever it is doing) when it has come to given points, and resumed in a
new process each time. Then everything that both have written is compared. Of several workers the launcher is killed,
which takes all of them along.
"""

from __future__ import annotations

import multiprocessing
import os
import random
import shutil
import signal
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from multiprocessing.context import ForkServerProcess
from pathlib import Path
from typing import Any

from ...errors import CheckpointError, TrainctlError, UsageError
from ...metrics import LoggingPackage
from ..adjustments import Adjustments, load_adjusted
from ..launch import NoDisplay, resume, start
from ..options import RunOptions
from ..progress import Progress
from ..reporting.metrics_file import follow
from ..saving.run_directory import RunDirectory
from .run_comparison import Difference, compare

STEPS = 4096
POINTS = ("37%", "stage-end", "random")
CHECKPOINTS = 20
"""About how many checkpoints a run writes on its way, and how often it closes its metrics."""

PRELOADED = [__name__, "gymnasium", "torch._dynamo", "torch.utils.tensorboard"]
"""What each run would import itself: seconds for each of them, half of them for what torch's optimizers import."""


@dataclass(frozen=True)
class Kill:
    """A point at which run B was killed.

    * at: as it was asked for. step: total steps that it had to reach; stage_index: the stage that it had to enter.
    * resumed_from: the checkpoint from which it went on; None: from the start, or it never came to this point.
    """

    at: str
    step: int
    stage_index: int = 0
    resumed_from: str | None = None

    def is_due(self, progress: Progress | LoggingPackage) -> bool:
        """Whether the training has come to this point."""
        return progress.total_steps >= self.step and progress.stage_index >= self.stage_index


@dataclass(frozen=True)
class Verdict:
    """Whether the resumed run ended with the same bits.

    * guarantee: what the resumes promised. first_difference, likely_cause: None where there is none.
    * kills: where B was killed. compared: how many tensors, values, metrics and checkpoints.
    * runs: the directory with both runs, kept where they differ.
    """

    bit_exact: bool
    guarantee: str
    first_difference: Difference | None
    likely_cause: str | None
    steps: int
    kills: list[Kill]
    compared: dict[str, int]
    runs: Path | None

    def to_json(self) -> dict[str, Any]:
        """The document that `--json` prints."""
        difference = self.first_difference.to_json() if self.first_difference else None
        runs = None if self.runs is None else str(self.runs)
        return {**asdict(self), "first_difference": difference, "runs": runs}


def verify_resume(
    options: RunOptions, steps: int | None, points: Sequence[str], say: Callable[[str], None] = lambda text: None
) -> Verdict:
    """Train the experiment twice, once with kills, and compare.

    * steps: of the whole training, all stages made shorter in proportion; None: 4096, or as long as it is if shorter.
    * points: where to kill: "37%" of the steps, a number of steps, "stage-end" (each one but the last) or "random".
    """
    folder = Path(tempfile.mkdtemp(prefix="trainctl-verify-"))
    options, kills = _planned(options, steps, points)
    options = replace(options, runs_dir=folder)
    total = options.adjustments.total_steps or 0
    say(f"run A: {total:,} steps, left alone")
    a = _run(options, "uninterrupted", [], say)
    say("run B: " + ("killed at " + ", ".join(f"{kill.at} ({kill.step:,})" for kill in kills) if kills else "no kills"))
    b = _run(options, "resumed", kills, say)
    done = compare(a, b)
    if not done.checkpoints:
        raise CheckpointError("nothing was compared: no checkpoint was written", f"see {folder / 'uninterrupted.log'}")
    attempts = b.read_run()["attempts"]
    resumed = [attempt["from_checkpoint"] for attempt in attempts[1:]]
    kills = [replace(kill, resumed_from=name) for kill, name in zip(kills, resumed, strict=False)]
    difference = done.difference
    verdict = Verdict(
        bit_exact=difference is None,
        guarantee=attempts[-1]["guarantee"],
        first_difference=difference,
        likely_cause=None if difference is None else _likely_cause(options, a, b, difference, say),
        steps=a.read_run()["total_steps"],
        kills=kills,
        compared={name: getattr(done, name) for name in ("tensors", "values", "metrics", "checkpoints")},
        runs=None if difference is None else folder,
    )
    if verdict.bit_exact:
        shutil.rmtree(folder, ignore_errors=True)
    return verdict


def _planned(options: RunOptions, steps: int | None, points: Sequence[str]) -> tuple[RunOptions, list[Kill]]:
    """The options with the adjustments that both runs have, and the kills in the order of their steps."""
    pipeline = load_adjusted(options.experiment, options.settings, options.adjustments).experiment.pipeline
    budgets = [stage.max_stage_steps for stage in pipeline]
    declared = [budget() if callable(budget) else budget for budget in budgets]
    total = steps or min(STEPS, sum(declared))
    often = max(1, total // CHECKPOINTS)
    adjustments = Adjustments(total_steps=total, save_interval=often, metric_accumulate_interval=often)
    ends = [round(sum(declared[: index + 1]) * total / sum(declared)) for index in range(len(declared) - 1)]
    found = [kill for point in points for kill in _kills(point, total, ends, options.seed)]
    return replace(options, adjustments=adjustments), sorted(found, key=lambda kill: kill.step)


def _kills(point: str, total: int, ends: list[int], seed: int) -> list[Kill]:
    if point == "stage-end":
        return [Kill(point, end, index) for index, end in enumerate(ends, start=1)]
    if point == "random":
        return [Kill(point, random.Random(f"{seed} {total}").randrange(1, total))]
    try:
        step = round(float(point[:-1]) / 100 * total) if point.endswith("%") else int(point)
    except ValueError:
        raise UsageError(f"--at {point!r} is no point of a run", "write e.g. 37%, 1500, stage-end or random") from None
    if not 0 < step < total:
        raise UsageError(f"--at {point} is not within the {total:,} steps of the run")
    return [Kill(point, step)]


# Processes


def _run(options: RunOptions, name: str, kills: Sequence[Kill], say: Callable[[str], None]) -> RunDirectory:
    """Train to the end under this name, killed at these points."""
    options = replace(options, name=name)
    log = options.runs_dir / f"{name}.log"
    action: Callable[..., object] = _start
    for kill in [*kills, None]:
        process = _in_new_process(log, kill, action, options)
        if process.exitcode == 0:
            break
        if kill is None or process.exitcode != -signal.SIGKILL:
            raise _failed(name, process.exitcode or 1, log)
        action = _resume
    return _directory(options)


def _in_new_process(log: Path, kill: Kill | None, action: Callable[..., object], argument: object) -> ForkServerProcess:
    """The process, which has ended. The server that it is forked from has imported everything and done nothing."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(PRELOADED)
    process = context.Process(target=_child, args=(log, kill, action, argument, os.getcwd()))
    process.start()
    process.join()
    return process


def _child(log: Path, kill: Kill | None, action: Callable[..., object], argument: object, folder: str) -> None:
    with log.open("ab") as file:
        os.dup2(file.fileno(), 1)
        os.dup2(file.fileno(), 2)
    os.chdir(folder)
    try:
        action(argument, _Killer(kill))
    except TrainctlError as error:
        print(f"error: {error}", file=sys.stderr, flush=True)
        os._exit(error.exit_code)
    os._exit(0)


def _start(options: RunOptions, killer: _Killer) -> None:
    killer.follow_workers(options)
    start(options, killer, ["trainctl", "verify-resume"])


def _resume(options: RunOptions, killer: _Killer) -> None:
    killer.follow_workers(options)
    resume(_directory(options).path, killer, fleet=options.fleet)


def _directory(options: RunOptions) -> RunDirectory:
    return RunDirectory(options.runs_dir / (options.name or ""))


class _Killer(NoDisplay):
    """Kills its own process when the training has come to a point; None: never."""

    def __init__(self, kill: Kill | None) -> None:
        self.kill = kill

    def begin(self, directory: Path, description: dict[str, Any], progress: Progress, message: str) -> None:
        if self.kill is not None:
            threading.Thread(target=self._watch, args=(progress, self.kill), daemon=True).start()

    def _watch(self, progress: Progress, kill: Kill) -> None:
        while not kill.is_due(progress):
            time.sleep(0.0005)
        os.kill(os.getpid(), signal.SIGKILL)

    def follow_workers(self, options: RunOptions) -> None:
        """Where others train: watch the intervals that they close."""
        if self.kill is not None and not options.fleet.is_single:
            threading.Thread(target=self._read, args=(_directory(options).metrics, self.kill), daemon=True).start()

    def _read(self, metrics: Path, kill: Kill) -> None:
        for package in follow(metrics, lambda: False, earlier=0, pause=0.01):
            if kill.is_due(package):
                os.kill(os.getpid(), signal.SIGKILL)

    def warn(self, text: str) -> None:
        print(f"warning: {text}", file=sys.stderr, flush=True)


def _failed(name: str, code: int, log: Path) -> TrainctlError:
    last = log.read_text("utf-8", "replace").strip().splitlines()[-12:]
    error = TrainctlError("\n  ".join([f"the {name} run ended with exit code {code}", *last]), f"its output: {log}")
    error.exit_code = code if 0 < code < 8 else 1
    return error


# Causes


def _likely_cause(
    options: RunOptions, a: RunDirectory, b: RunDirectory, difference: Difference, say: Callable[[str], None]
) -> str:
    """What a resume has warned of; else whether the experiment repeats itself at all; else whose state differs."""
    warnings = [line for line in _log_of(b).splitlines() if line.startswith("warning: ")]
    say("they differ; run C: left alone again, to see whether the experiment repeats itself")
    again = compare(a, _run(options, "again", [], say)).difference
    if again is not None:
        where = f"two uninterrupted runs differ as well ({again.name} at {again.step:,} steps)"
        return f"an unseeded random source: {where}"
    if "replaying its actions" in " ".join(warnings):
        return (
            "an environment that cannot be replayed from its seed and actions: make everything random in it come from "
            "self.np_random, or give it state_dict() and load_state_dict()"
        )
    if "criterion" in " ".join(warnings):
        return "an early-stopping criterion without state_dict() and load_state_dict()"
    if warnings:
        return warnings[-1].removeprefix("warning: ")
    part = difference.name.split(".")[0].split(" of ")[0]
    return f"something that no checkpoint holds; it is seen first in {part!r}"


def _log_of(directory: RunDirectory) -> str:
    return directory.path.with_name(f"{directory.path.name}.log").read_text("utf-8", "replace")
