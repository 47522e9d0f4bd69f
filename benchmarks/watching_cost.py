"""What it costs to watch: how much longer a run takes with validation, films and the live display.

    python benchmarks/watching_cost.py                                # goto_object
    python benchmarks/watching_cost.py experiments/cartpole_ppo.py

The experiment with `Validation()` (20 episodes, at each of its checkpoints), `--films` and the live display on a
terminal (a pseudo-terminal of 120 columns here), and in turn the same run with all of them off, five times each: the
weights must always have the same SHA-256. It says the seconds that the training itself spends on each part, of which
most is waiting, and the time with over the time without, the median of the pairs. That needs a quiet machine.
"""

from __future__ import annotations

import hashlib
import os
import statistics
import sys
import tempfile
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from rich.live import Live

from trainctl.cli.console_live import LiveDisplay
from trainctl.core.engine.device import cores
from trainctl.core.engine.launch import NoDisplay, start
from trainctl.core.engine.options import Outcome, RunOptions
from trainctl.core.engine.playing.validation import Validator
from trainctl.core.engine.reporting.film_sink import FilmSink
from trainctl.core.engine.trainer import Trainer

EXPERIMENT = Path(__file__).parent.parent / "experiments" / "goto_object.py"
PROMISED = 0.03
ROUNDS = 5

VALIDATED = """
import dataclasses
from {module} import experiment as plain
from trainctl import Experiment, Validation


def experiment() -> Experiment:
    return dataclasses.replace(plain(), validation=Validation())
"""


class Clock:
    """Seconds spent in some methods, by name."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = defaultdict(float)

    def around(self, owner: type, method: str, name: str, now: Callable[[], float] = time.perf_counter) -> None:
        original = getattr(owner, method)

        def measured(*args: Any, **kwargs: Any) -> Any:
            began = now()
            try:
                return original(*args, **kwargs)
            finally:
                self.seconds[name] += now() - began

        setattr(owner, method, measured)


def clock_around_all() -> Clock:
    clock = Clock()
    clock.around(Validator, "begin", "validation: a copy of the model, a fork")
    clock.around(Validator, "take", "validation: waiting")
    clock.around(Trainer, "note_validation", "validation: noted in its checkpoint")
    clock.around(FilmSink, "write", "films: a fork, writing")
    clock.around(FilmSink, "close", "films: waiting at the end")
    for method in ("begin", "write", "note", "close"):
        clock.around(LiveDisplay, method, "display")
    clock.around(Live, "refresh", "display, drawn in its thread", time.thread_time)
    return clock


@contextmanager
def pseudo_terminal() -> Iterator[None]:
    """stderr is a terminal, and somebody reads it."""
    ours, theirs = os.openpty()
    real = os.dup(2)
    os.dup2(theirs, 2)
    os.close(theirs)
    threading.Thread(target=_swallow, args=(ours,), daemon=True).start()
    try:
        yield
    finally:
        sys.stderr.flush()
        os.dup2(real, 2)
        os.close(real)


def _swallow(descriptor: int) -> None:
    try:
        while os.read(descriptor, 65536):
            pass
    except OSError:
        os.close(descriptor)


def weights(outcome: Outcome) -> str:
    assert outcome.checkpoint is not None
    return hashlib.sha256((outcome.checkpoint / "model.safetensors").read_bytes()).hexdigest()


def watched(folder: Path, number: int) -> tuple[Outcome, float]:
    """The run with everything on: its outcome and its seconds."""
    with pseudo_terminal():
        began = time.perf_counter()
        display = LiveDisplay()
        options = RunOptions(folder / "watched.py", name=f"on-{number}", runs_dir=folder, films=True, device="cpu")
        outcome = start(options, display, [])
        display.close()
        return outcome, time.perf_counter() - began


def alone(folder: Path, experiment: Path, number: int) -> tuple[Outcome, float]:
    """The run with everything off: its outcome and its seconds."""
    began = time.perf_counter()
    outcome = start(RunOptions(experiment, name=f"off-{number}", runs_dir=folder, device="cpu"), NoDisplay(), [])
    return outcome, time.perf_counter() - began


def main() -> None:
    experiment = Path(sys.argv[1]) if len(sys.argv) == 2 else EXPERIMENT
    os.environ["COLUMNS"] = "120"
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / experiment.name).write_bytes(experiment.read_bytes())
        (folder / "watched.py").write_text(VALIDATED.format(module=experiment.stem))
        hashes, ons, offs = set[str](), list[float](), list[float]()
        alone(folder, experiment, -1)  # imports, and what else is done only once
        watched(folder, -1)
        clock = clock_around_all()
        for number in range(ROUNDS):
            for seconds, (outcome, taken) in (
                (offs, alone(folder, experiment, number)),
                (ons, watched(folder, number)),
            ):
                seconds.append(taken)
                hashes.add(weights(outcome))
    ratios = [on / off - 1 for on, off in zip(ons, offs, strict=True)]
    total = sum(ons)
    print(f"{outcome.total_steps:,} steps, {cores()} cores; with everything on {total / ROUNDS:.2f} s, of them")
    for part, spent in clock.seconds.items():
        print(f"  {part}: {spent / ROUNDS:.3f} s, {100 * spent / total:.2f} %")
    spent = sum(clock.seconds.values())
    share = spent / (total - spent)
    pairs = ", ".join(f"{100 * ratio:+.1f}" for ratio in sorted(ratios))
    print(f"together {100 * share:.2f} % of the time without them (promised: less than {100 * PROMISED:.0f} %)")
    print(f"with over without: {100 * statistics.median(ratios):+.1f} % (the pairs: {pairs})")
    print(f"the weights are {'the same' if len(hashes) == 1 else 'OTHERS'} with all of them off")
    sys.exit(share >= PROMISED or len(hashes) > 1)


if __name__ == "__main__":
    main()
