"""`trainctl run --seeds 0-4 --jobs 2`: the same experiment with several seeds, each a run of its own."""

from __future__ import annotations

import contextlib
import json
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import typer

from ..core.errors import UsageError

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
        self.running: dict[int, subprocess.Popen[str]] = {}
        self.outcomes: dict[int, dict[str, Any]] = {}
        self.codes: dict[int, int] = {}
        self.is_stopping = False

    def train(self, seeds: Sequence[int], jobs: int) -> int:
        """Train them all; gives the exit code: of the first that failed, or of one that was stopped, else 0.

        A signal that asks to save and leave is passed on to all that run, and no other seed is begun.
        """
        waiting = [seed for seed in seeds if not self._is_finished(seed)]
        with self._passing_signals_on():
            while self.running or (waiting and not self.is_stopping):
                while waiting and len(self.running) < jobs and not self.is_stopping:
                    self._start(waiting.pop(0))
                self._collect()
                time.sleep(_PAUSE)
        stopped, failed = [code for code in self.codes.values() if code in (75, 130)], self._failures()
        return next(iter([*failed, *stopped]), 0)

    def _failures(self) -> list[int]:
        return [code for code in self.codes.values() if code not in (0, 75, 130)]

    def _run(self, seed: int) -> str:
        return f"{self.name}-s{seed}"

    def _is_finished(self, seed: int) -> bool:
        try:
            record = json.loads((self.runs_dir / self._run(seed) / "run.json").read_bytes())
            finished = bool(record["attempts"]) and record["attempts"][-1]["status"] == "complete"
        except (OSError, ValueError, KeyError, TypeError):
            return False
        if finished:
            self.say(f"seed {seed}: {self.runs_dir / self._run(seed)} is finished already")
        return finished

    def _start(self, seed: int) -> None:
        command = [sys.executable, "-m", "trainctl", *self.words, "--seed", str(seed), "--name", self._run(seed)]
        self.running[seed] = subprocess.Popen([*command, "--quiet", "--json"], stdout=subprocess.PIPE, text=True)

    def _collect(self) -> None:
        for seed in [seed for seed, process in self.running.items() if process.poll() is not None]:
            process = self.running.pop(seed)
            out, _ = process.communicate()
            self.codes[seed] = process.returncode if process.returncode >= 0 else 1
            with contextlib.suppress(ValueError):  # one that failed prints nothing
                self.outcomes[seed] = json.loads(out)
            outcome = self.outcomes.get(seed, {"status": "failed", "total_steps": 0})
            steps = f"{outcome['total_steps']:,} steps"
            self.say(f"seed {seed}: {outcome['status']}, {steps}, {self.runs_dir / self._run(seed)}")

    @contextlib.contextmanager
    def _passing_signals_on(self) -> Iterator[None]:
        def pass_on(number: int, frame: object) -> None:
            self.is_stopping = True
            for process in self.running.values():
                with contextlib.suppress(ProcessLookupError):
                    process.send_signal(number)

        def stop(number: int, frame: object) -> None:
            self.is_stopping = True  # a terminal has sent Ctrl-C to all of us

        wanted = {signal.SIGTERM: pass_on, signal.SIGUSR1: pass_on, signal.SIGINT: stop}
        before = {number: signal.signal(number, handler) for number, handler in wanted.items()}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)


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
