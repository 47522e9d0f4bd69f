"""Where the time of a few rollouts goes: a table, and a trace for a viewer."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from torch.profiler import ProfilerActivity, profile, record_function

from ..collecting.rollout import Rollout
from ..learning import weighing
from ..learning.compiled import CompiledGradients
from ..learning.recorded import RecordedGradients
from ..learning.weights import Weights
from ..trainer import Trainer

WARM_UP = 2
"""Rollouts before the profile begins: what is done only once is over by then."""


STEP_BY_STEP = ((weighing, "weigh", "forward, losses"), (Weights, "backward", "backward"))
AT_ONCE = (
    (RecordedGradients, "__call__", "forward and backward"),
    (CompiledGradients, "__call__", "forward and backward"),
    (CompiledGradients, "descend", "forward, backward, step"),
)


class SelfTimes:
    """Seconds spent in named parts, without those in parts that they call."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}
        self._running: list[str] = []
        self._since = time.perf_counter()

    @contextmanager
    def part(self, name: str) -> Iterator[None]:
        """Within this context time counts for `name`, and in a trace too."""
        self._charge()
        self._running.append(name)
        try:
            with record_function(name):
                yield
        finally:
            self._charge()
            self._running.pop()

    def reset(self) -> None:
        """Forget what was measured; what runs, runs on."""
        self._charge()
        self.seconds.clear()

    def _charge(self) -> None:
        now = time.perf_counter()
        name = self._running[-1] if self._running else "the rest"
        self.seconds[name] = self.seconds.get(name, 0.0) + now - self._since
        self._since = now

    def table(self, steps: int) -> str:
        """A line for each part, the largest first; `steps` were taken meanwhile."""
        total = sum(self.seconds.values())
        lines = [f"{'part':<24} {'seconds':>9} {'share':>7} {'µs per step':>12}"]
        for name, seconds in sorted(self.seconds.items(), key=lambda item: -item[1]):
            lines.append(f"{name:<24} {seconds:>9.3f} {seconds / total:>7.1%} {1e6 * seconds / steps:>12.2f}")
        return "\n".join([*lines, f"{'sum':<24} {total:>9.3f} {1:>7.1%} {1e6 * total / steps:>12.2f}"])


@contextmanager
def profiled(
    trainer: Trainer,
    rollouts: int,
    directory: Path,
    note: Callable[[str], None],
    warn: Callable[[str], None],
) -> Iterator[None]:
    """Profile so many rollouts of the training within this context, after two that do not count; 0: none.

    Writes `profile.txt` and `profile.json` (open it in https://ui.perfetto.dev or chrome://tracing). The trace costs
    time too: what is short is overrated.
    """
    if rollouts == 0:
        yield
        return
    os.environ.setdefault("KINETO_LOG_LEVEL", "6")  # or torch's tracer says on stderr when it starts and stops
    times, tracer = SelfTimes(), profile(activities=[ProfilerActivity.CPU])
    collect, begun = trainer.collector.collect, 0

    def counted(*arguments: Any) -> Rollout:
        nonlocal begun
        begun += 1
        if begun == WARM_UP + 1:
            tracer.start()
            times.reset()
        if begun == WARM_UP + 1 + rollouts:
            _write(times, tracer, rollouts * trainer.collector.steps_per_rollout(), directory, note)
        with times.part("collect, store"):
            return collect(*arguments)

    trainer.collector.collect = counted  # type: ignore[method-assign,assignment]
    undo = [_measure(times, owner, name, part) for owner, name, part in _parts(trainer)]
    try:
        yield
    finally:
        for put_back in undo:
            put_back()
        if begun <= WARM_UP + rollouts:
            warn(f"no profile: the run ended before {WARM_UP + rollouts + 1} rollouts were begun")


def _parts(trainer: Trainer) -> list[tuple[Any, str, str]]:
    """What is measured: whose method, its name, and the part that it is."""
    collector, learner = trainer.collector, trainer.learner
    return [
        *((group, step, "environment") for group in collector.groups for step in ("begin_step", "end_step")),
        *((group.actor, "act", "act") for group in collector.groups),
        (collector, "_evaluate", "values, log-probabilities"),
        (Rollout, "compute_returns", "returns"),
        (learner, "update", "minibatches, statistics"),
        *STEP_BY_STEP,
        *AT_ONCE,
        (learner, "descend", "step"),
        (trainer.sinks, "write", "report"),
        (trainer, "save", "save"),
    ]


def _measure(times: SelfTimes, owner: Any, name: str, part: str) -> Callable[[], None]:
    """Measure every call of a function under the name of a part. Returns what undoes it."""
    original = getattr(owner, name)

    def measured(*arguments: Any, **named: Any) -> Any:
        with times.part(part):
            return original(*arguments, **named)

    own = vars(owner).get(name)
    setattr(owner, name, measured)
    return lambda: delattr(owner, name) if own is None else setattr(owner, name, own)


def _write(times: SelfTimes, tracer: Any, steps: int, directory: Path, note: Callable[[str], None]) -> None:
    tracer.stop()
    table = times.table(steps)
    (directory / "profile.txt").write_text(table + "\n")
    tracer.export_chrome_trace(str(directory / "profile.json"))
    note(f"where the time went:\n{table}\ntrace: {directory / 'profile.json'}")
