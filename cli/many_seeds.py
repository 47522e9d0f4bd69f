"""`trainctl run --seeds 0-4 --jobs 2`: the same experiment with several seeds, each a run of its own."""

from __future__ import annotations

import contextlib
import re
import shlex
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from ..core.engine.saving.run_directory import RunDirectory
from ..core.errors import CheckpointError, ExperimentChangedError, UsageError
from .child_runs import STOPPED, ChildRuns, Ended
from .output import lasting_output
from .text import duration, number

if TYPE_CHECKING:
    from ..core.engine.options import RunOptions

_PAUSE = 0.1  # seconds between two looks at the processes
_NEWS = 30.0  # seconds between two lines about each seed that trains
_SPEED = "speed/steps_per_second"


def seeds_of(text: str) -> list[int]:
    """ "0-4" -> 0, 1, 2, 3, 4; "1,5,7-9" -> 1, 5, 7, 8, 9. Raises `UsageError`."""
    seeds: list[int] = []
    for part in text.split(","):
        match = re.fullmatch(r"\s*(\d+)(?:-(\d+))?\s*", part)
        if match is None or (match[2] and int(match[2]) < int(match[1])):
            raise UsageError(f"--seeds {text} is no range of seeds", "write e.g. --seeds 0-4 or --seeds 1,5,7-9")
        seeds += range(int(match[1]), int(match[2] or match[1]) + 1)
    return list(dict.fromkeys(seeds))


class ManySeeds:
    """Trains each seed in a process of its own, so many at a time.

    * words: of the command `trainctl run`, without name and seed.
    * name: the runs are called NAME-s0, NAME-s1, …; those that are finished already are left as they are, and those
      that are not go on.
    """

    def __init__(self, words: Sequence[str], name: str, runs_dir: Path, say: Callable[[str], None]) -> None:
        self.words, self.name, self.runs_dir, self.say = list(words), name, runs_dir, say
        self.children = ChildRuns()
        self.outcomes: dict[int, dict[str, Any]] = {}
        self.codes: dict[int, int] = {}
        self._began: dict[int, float] = {}

    def train(self, seeds: Sequence[int], jobs: int) -> int:
        """Train them all; gives the exit code: of the first that failed, or of one that was stopped, else 0.

        A signal that asks to save and leave is passed on to all that run, and no other seed is begun.
        """
        waiting, children = [seed for seed in seeds if not self._is_left(seed)], self.children
        told = time.monotonic()
        with lasting_output(), children.passing_signals_on():
            while children.running or (waiting and not children.is_stopping):
                while waiting and len(children.running) < jobs and not children.is_stopping:
                    self._begin(waiting.pop(0))
                for seed, ended in children.ended():
                    self._note(seed, ended)
                if time.monotonic() - told > _NEWS:
                    told = time.monotonic()
                    for seed in children.running:
                        self.say(self.news(seed))
                time.sleep(_PAUSE)
        stopped = [code for code in self.codes.values() if code in STOPPED]
        failed = [code for code in self.codes.values() if code not in {0, *STOPPED}]
        return next(iter([*failed, *stopped]), 0)

    def run(self, seed: int) -> RunDirectory:
        """The directory of the run with this seed, whether it is there or not."""
        return RunDirectory(self.runs_dir / f"{self.name}-s{seed}")

    def is_finished(self, seed: int) -> bool:
        """Whether this seed is trained to its end."""
        try:
            return self.run(seed).is_run() and self.run(seed).is_finished()
        except CheckpointError:
            return False  # its training will say what is wrong

    def news(self, seed: int) -> str:
        """Where the training of a seed was when its last interval closed, in a line."""
        from ..core.engine.reporting.metrics_file import read_packages

        packages = [package for package in read_packages(self.run(seed).metrics) if package.kind == "train"]
        if not packages:
            return f"seed {seed}: no interval is closed yet"
        means, words = packages[-1].means, [f"seed {seed}: {packages[-1].total_steps:,} steps", packages[-1].stage]
        words += [f"return {number(means['episode/return'])}"] if "episode/return" in means else []
        words += [f"{means[_SPEED]:,.0f} steps/s"] if _SPEED in means else []
        return ", ".join(words)

    def _is_left(self, seed: int) -> bool:
        finished = self.is_finished(seed)
        if finished:
            self.say(f"seed {seed}: {self.run(seed).path} is finished already")
        return finished

    def _begin(self, seed: int) -> None:
        run, self._began[seed] = self.run(seed), time.monotonic()
        self.say(f"seed {seed}: {'goes on in' if run.is_run() else 'begins in'} {run.path}")
        self.children.start(seed, [*self.words, "--seed", str(seed), "--name", run.path.name])

    def _note(self, seed: int, ended: Ended) -> None:
        self.codes[seed] = ended.code if ended.code >= 0 else 1
        if ended.outcome is None:
            how = f"failed, exit code {ended.code}"
        else:
            self.outcomes[seed] = ended.outcome
            how = f"{ended.outcome['status']}, {ended.outcome['total_steps']:,} steps"
        place = self.run(seed).path if self.run(seed).is_run() else "no run was made"
        self.say(f"seed {seed}: {how}, {duration(time.monotonic() - self._began[seed])}, {place}")


def train_seeds(
    words: Sequence[str],
    asked: Callable[[], RunOptions],
    name: str,
    runs_dir: Path,
    seeds: str,
    jobs: int,
    quiet: bool,
    as_json: bool,
) -> None:
    """Train all seeds and say how each ended. Raises typer.Exit with the exit code.

    asked: what is asked of a run; its seed is not looked at. Takes seconds to import the first time.
    """
    from .console import say
    from .output import print_document

    many = ManySeeds(words, name, runs_dir, lambda text: None if quiet else say([text]))
    wanted = seeds_of(seeds)
    _refuse_others(many, [seed for seed in wanted if many.run(seed).is_run()], asked)
    code = many.train(wanted, jobs)
    if as_json:
        print_document([many.outcomes[seed] for seed in sorted(many.outcomes)])
    elif not quiet:
        say(_next_steps(many, wanted))
    raise typer.Exit(code)


def _refuse_others(many: ManySeeds, begun: Sequence[int], asked: Callable[[], RunOptions]) -> None:
    """Refuse to take runs that are there for what is asked if they are of something else."""
    if not begun:
        return
    from ..core.engine.adjustments import load_adjusted
    from ..core.engine.saving.resuming import check_same

    options = asked()
    loaded = load_adjusted(options.experiment, options.settings, options.adjustments)
    for seed in begun:
        with contextlib.suppress(CheckpointError):  # a damaged record: its training will say what is wrong
            try:
                check_same(many.run(seed), loaded, replace(options, seed=seed))
            except ExperimentChangedError as error:
                raise error.within(str(many.run(seed).path)) from error


def _next_steps(many: ManySeeds, seeds: Sequence[int]) -> list[str]:
    finished = [seed for seed in seeds if many.is_finished(seed)]
    if len(finished) == len(seeds):
        return [f"  report      trainctl report {shlex.quote(f'{many.runs_dir}/{many.name}')}-s*"]
    again = shlex.join(["trainctl", *sys.argv[1:]])
    return ["", f"{len(finished)} of {len(seeds)} seeds are finished", f"  go on       {again}"]
