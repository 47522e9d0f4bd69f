"""`trainctl run --seeds 0-4 --jobs 2`: the same experiment with several seeds, each a run of its own."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import typer

from ..core.engine.saving.run_directory import RunDirectory
from ..core.errors import CheckpointError, UsageError
from .child_runs import STOPPED, ChildRuns, Ended

_PAUSE = 0.1  # seconds between two looks at the processes


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

    def train(self, seeds: Sequence[int], jobs: int) -> int:
        """Train them all; gives the exit code: of the first that failed, or of one that was stopped, else 0.

        A signal that asks to save and leave is passed on to all that run, and no other seed is begun.
        """
        waiting, children = [seed for seed in seeds if not self._is_finished(seed)], self.children
        with children.passing_signals_on():
            while children.running or (waiting and not children.is_stopping):
                while waiting and len(children.running) < jobs and not children.is_stopping:
                    seed = waiting.pop(0)
                    children.start(seed, [*self.words, "--seed", str(seed), "--name", self._run(seed)])
                for seed, ended in children.ended():
                    self._note(seed, ended)
                time.sleep(_PAUSE)
        stopped = [code for code in self.codes.values() if code in STOPPED]
        failed = [code for code in self.codes.values() if code not in {0, *STOPPED}]
        return next(iter([*failed, *stopped]), 0)

    def _run(self, seed: int) -> str:
        return f"{self.name}-s{seed}"

    def _is_finished(self, seed: int) -> bool:
        run = RunDirectory(self.runs_dir / self._run(seed))
        try:
            finished = run.is_run() and run.is_finished()
        except CheckpointError:
            return False  # its training will say what is wrong
        if finished:
            self.say(f"seed {seed}: {run.path} is finished already")
        return finished

    def _note(self, seed: int, ended: Ended) -> None:
        self.codes[seed] = ended.code if ended.code >= 0 else 1
        if ended.outcome is not None:
            self.outcomes[seed] = ended.outcome
        outcome = ended.outcome or {"status": "failed", "total_steps": 0}
        steps = f"{outcome['total_steps']:,} steps"
        self.say(f"seed {seed}: {outcome['status']}, {steps}, {self.runs_dir / self._run(seed)}")


def train_seeds(words: Sequence[str], name: str, runs_dir: Path, seeds: str, jobs: int, as_json: bool) -> None:
    """Train all seeds and say how each ended. Raises typer.Exit with the exit code."""
    from .console import say
    from .output import print_document

    many = ManySeeds(words, name, runs_dir, lambda text: say([text]))
    code = many.train(seeds_of(seeds), jobs)
    if as_json:
        print_document([many.outcomes[seed] for seed in sorted(many.outcomes)])
    else:
        say([f"  report      trainctl report {runs_dir}/{name}-s*"])
    raise typer.Exit(code)
