"""What it costs to watch: the share of its time that a run spends on validation, films and the live display.

    python benchmarks/watching_cost.py                                # goto_object
    python benchmarks/watching_cost.py experiments/cartpole_ppo.py

One run of the experiment with `Validation()` (20 episodes, at each of its checkpoints), `--films` and the live display
on a terminal (a pseudo-terminal of 120 columns here). All parts are measured in that run, beside each other, in seconds
of the processor, so that others on the machine do not count: a clock stands around each call, and the environments are
stepped in this process. Then the same run with all of them off: the weights must have the same SHA-256.
"""

from __future__ import annotations

import hashlib
import os
import sys
import tempfile
import threading
import time
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from rich.live import Live

from trainctl.cli.console_live import LiveDisplay
from trainctl.core.engine.film_sink import FilmSink
from trainctl.core.engine.launch import NoDisplay, start
from trainctl.core.engine.options import Outcome, RunOptions
from trainctl.core.engine.validation import Validator

EXPERIMENT = Path(__file__).parent.parent / "experiments" / "goto_object.py"
PROMISED = 0.03
IN_ITS_THREAD = "display, drawn in its thread"

VALIDATED = """
import dataclasses
from {module} import experiment as plain
from trainctl import Experiment, Validation


def experiment() -> Experiment:
    return dataclasses.replace(plain(), validation=Validation(), environment_processes=0)
"""


class Clock:
    """Seconds spent in some methods, by name: of the thread that calls them."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = defaultdict(float)

    def around(self, owner: type, method: str, name: str) -> None:
        original = getattr(owner, method)

        def measured(*args: Any, **kwargs: Any) -> Any:
            began = time.thread_time()
            try:
                return original(*args, **kwargs)
            finally:
                self.seconds[name] += time.thread_time() - began

        setattr(owner, method, measured)


@contextmanager
def pseudo_terminal() -> Iterator[None]:
    """stderr is a terminal, and somebody reads it."""
    ours, theirs = os.openpty()
    real = os.dup(2)
    os.dup2(theirs, 2)
    threading.Thread(target=_swallow, args=(ours,), daemon=True).start()
    try:
        yield
    finally:
        sys.stderr.flush()
        os.dup2(real, 2)


def _swallow(descriptor: int) -> None:
    try:
        while os.read(descriptor, 65536):
            pass
    except OSError:
        return


def weights(outcome: Outcome) -> str:
    assert outcome.checkpoint is not None
    return hashlib.sha256((outcome.checkpoint / "model.safetensors").read_bytes()).hexdigest()


def watched(folder: Path, experiment: Path) -> tuple[Outcome, float, dict[str, float]]:
    """The run with everything on: its outcome, its seconds, and the seconds of each part."""
    (folder / experiment.name).write_bytes(experiment.read_bytes())
    (folder / "watched.py").write_text(VALIDATED.format(module=experiment.stem))
    clock = Clock()
    clock.around(Validator, "validate", "validation")
    clock.around(FilmSink, "write", "films")
    for method in ("begin", "write", "note", "close"):
        clock.around(LiveDisplay, method, "display")
    clock.around(Live, "refresh", IN_ITS_THREAD)
    with pseudo_terminal():
        os.environ["COLUMNS"] = "120"
        display = LiveDisplay()
        began, woke = time.process_time(), time.perf_counter()
        outcome = start(
            RunOptions(folder / "watched.py", name="on", runs_dir=folder, films=True, device="cpu"), display, []
        )
        display.close()
    total = time.process_time() - began
    # drawn twice in a second of the wall clock, which is longer than the processor's where others want it too
    clock.seconds[IN_ITS_THREAD] *= total / (time.perf_counter() - woke)
    return outcome, total, dict(clock.seconds)


def main() -> None:
    experiment = Path(sys.argv[1]) if len(sys.argv) == 2 else EXPERIMENT
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        outcome, total, seconds = watched(folder, experiment)
        plain = start(RunOptions(experiment, name="off", runs_dir=folder, device="cpu"), NoDisplay(), [])
        same = weights(outcome) == weights(plain)
    share = sum(seconds.values()) / (total - sum(seconds.values()))
    print(f"{outcome.total_steps:,} steps in {total:.1f} s")
    for part, spent in seconds.items():
        print(f"  {part}: {spent:.2f} s, {100 * spent / total:.2f} %")
    print(f"together {100 * share:.2f} % of the time without them (promised: less than {100 * PROMISED:.0f} %)")
    print(f"the weights are {'the same' if same else 'OTHERS'} with all of them off")
    sys.exit(share >= PROMISED or not same)


if __name__ == "__main__":
    main()
