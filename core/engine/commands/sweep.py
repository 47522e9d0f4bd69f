"""A sweep: trials with different parameters, each an ordinary run; what is known of them is in the sweep's folder.

The folder holds `sweep.json` (what is searched), `journal.log` (Optuna's journal: each trial with its parameters and
values) and a run directory for each trial. A trial is in the journal before its run begins and stays "running" there
until its run has ended, so a sweep that is killed at any moment finds all of its trials again.
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from filelock import FileLock, Timeout

from ...errors import RunInUseError, UsageError, did_you_mean
from ..reporting.metrics_file import read_packages
from ..saving.growing_file import size_of
from ..saving.run_directory import RunDirectory
from ..seeding import derived_seed
from .search_space import Varied

if TYPE_CHECKING:
    import optuna

COMPLETE, PRUNED, FAILED, RUNNING = "complete", "pruned", "failed", "running"
DECLARATION, LOCK = "sweep.json", "LOCK"
PRUNERS = ("median", "halving", "none")


@dataclass(frozen=True)
class Trial:
    """One trial: its number, its state, what it varies (parameter -> text of `--set`), and its value if it has one."""

    number: int
    state: str
    parameters: dict[str, str]
    value: float | None


class Sweep:
    """A sweep in its folder, new or as an earlier process has left it.

    * declaration: what is searched, for `sweep.json`: "metric", "lower_is_better", "seed", "pruner" and whatever else
      must be the same when the sweep goes on.
    * interval: the steps that the metrics of a run are means over; trials are compared at multiples of it.

    Raises `UsageError` where Optuna is missing, and where the folder belongs to something else.
    """

    def __init__(self, folder: Path, declaration: dict[str, Any], space: Sequence[Varied], interval: int) -> None:
        self.folder, self.declaration, self.space, self.interval = folder, declaration, space, interval
        self._optuna = _optuna()
        self._sizes: dict[int, int] = {}  # of the metrics files, as they were looked at last
        _check_same(folder, declaration)

    @contextlib.contextmanager
    def opened(self) -> Iterator[None]:
        """While this lasts, the trials can be asked for, and no other process sweeps here. Raises `RunInUseError`."""
        lock = FileLock(self.folder / LOCK)
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            lock.acquire(timeout=1.0)
        except Timeout as error:
            raise RunInUseError(f"the sweep {self.folder} is in use by another process", "wait for it") from error
        except OSError as error:
            raise UsageError(f"the folder {self.folder} cannot be written: {error.strerror}") from error
        try:
            RunDirectory(self.folder).write_json(self.folder / DECLARATION, self.declaration)
            self._study = self._open_study()
            yield
        finally:
            lock.release()

    def run_of(self, number: int) -> RunDirectory:
        """The run of a trial."""
        return RunDirectory(self.folder / f"trial-{number:03d}")

    def trials(self) -> list[Trial]:
        """All trials that there are."""
        states = self._optuna.trial.TrialState
        words = {states.COMPLETE: COMPLETE, states.PRUNED: PRUNED, states.FAIL: FAILED}
        return [
            Trial(found.number, words.get(found.state, RUNNING), self._texts(found), self._value(found))
            for found in self._study.get_trials(deepcopy=False)
        ]

    def new_trial(self) -> Trial:
        """The next trial, with parameters that follow from the seed, its number and what is known so far."""
        number = len(self._study.get_trials(deepcopy=False))
        seed = derived_seed(self.declaration["seed"], "sweep", number) % 2**32
        self._study.sampler = self._optuna.samplers.TPESampler(seed=seed)
        return self._with_parameters(self._study.ask())

    def unfinished(self) -> list[Trial]:
        """Trials whose runs have not ended, or of which nobody has noted that they have."""
        return [self._with_parameters(self._trial(trial.number)) for trial in self.trials() if trial.state == RUNNING]

    def should_prune(self, number: int) -> bool:
        """Look at what the trial's run has reported since; whether it is worse than the others at the same steps."""
        size = size_of(self.run_of(number).metrics)
        if self._sizes.get(number) == size:
            return False
        self._sizes[number] = size
        trial = self._trial(number)
        known = self._study.get_trials(deepcopy=False)[number].intermediate_values
        for steps, value in self._curve(number):
            at = steps // self.interval
            if at > max(known, default=0):
                trial.report(value, at)
                known = {**known, at: value}
                if trial.should_prune():
                    return True
        return bool(known) and trial.should_prune()

    def complete(self, number: int) -> float:
        """The run of a trial has come to its end: note and give the metric's last value. Raises `UsageError`."""
        curve, metric = self._curve(number), self.declaration["metric"]
        if not curve:
            known = {tag for package in read_packages(self.run_of(number).metrics) for tag in package.means}
            raise UsageError(
                f"{self.run_of(number).path} has no metric {metric!r}", did_you_mean(metric, sorted(known))
            )
        self._study.tell(number, curve[-1][1])
        return curve[-1][1]

    def prune(self, number: int) -> None:
        """The run of a trial was stopped because it fell behind."""
        self._study.tell(number, state=self._optuna.trial.TrialState.PRUNED)

    def fail(self, number: int) -> None:
        """The run of a trial has failed."""
        self._study.tell(number, state=self._optuna.trial.TrialState.FAIL)

    def best(self) -> Trial | None:
        """The complete trial with the best value; None if there is none."""
        sign = -1 if self.declaration["lower_is_better"] else 1
        found = [trial for trial in self.trials() if trial.state == COMPLETE]
        return max(found, key=lambda trial: sign * (trial.value or 0.0), default=None)

    def _curve(self, number: int) -> list[tuple[int, float]]:
        metric = self.declaration["metric"]
        packages = read_packages(self.run_of(number).metrics)
        found = [(package.total_steps, package.means[metric]) for package in packages if metric in package.means]
        return [(steps, value) for steps, value in found if math.isfinite(value)]

    def _trial(self, number: int) -> optuna.trial.Trial:
        return self._optuna.trial.Trial(self._study, self._study.get_trials(deepcopy=False)[number]._trial_id)

    def _with_parameters(self, trial: optuna.trial.Trial) -> Trial:
        """Killed in between, a trial may lack some of them."""
        return Trial(trial.number, RUNNING, {one.name: one.suggest(trial) for one in self.space}, None)

    def _texts(self, found: Any) -> dict[str, str]:
        return {one.name: one.written(found.params[one.name]) for one in self.space if one.name in found.params}

    def _value(self, found: Any) -> float | None:
        if found.value is not None:
            return float(found.value)
        return float(found.intermediate_values[max(found.intermediate_values)]) if found.intermediate_values else None

    def _open_study(self) -> optuna.Study:
        from optuna.storages import JournalStorage
        from optuna.storages.journal import JournalFileBackend, JournalFileOpenLock

        journal = self.folder / "journal.log"
        Path(f"{journal}.lock").unlink(missing_ok=True)  # left behind by a process that was killed: the lock is ours
        if journal.exists():  # a line that it was killed in the middle of
            whole = journal.read_bytes().rfind(b"\n") + 1
            with journal.open("r+b") as file:
                file.truncate(whole)
        self._optuna.logging.set_verbosity(self._optuna.logging.ERROR)
        return self._optuna.create_study(
            storage=JournalStorage(JournalFileBackend(str(journal), JournalFileOpenLock(str(journal)))),
            study_name="sweep",
            direction="minimize" if self.declaration["lower_is_better"] else "maximize",
            pruner=_pruner(self._optuna, self.declaration["pruner"]),
            load_if_exists=True,
        )


def _optuna() -> Any:
    try:
        import optuna
    except ImportError as error:
        raise UsageError("a sweep needs Optuna, which is not installed", "pip install 'trainctl[sweep]'") from error
    return optuna


def _pruner(optuna: Any, name: str) -> Any:
    pruners = optuna.pruners
    made = {"median": pruners.MedianPruner, "halving": pruners.SuccessiveHalvingPruner, "none": pruners.NopPruner}
    return made[name]()


def _check_same(folder: Path, declaration: dict[str, Any]) -> None:
    """Refuse a folder that is no sweep, or that of another one. Raises `UsageError`."""
    if not (folder / DECLARATION).exists():
        if folder.exists() and any(not path.name.startswith((LOCK, DECLARATION)) for path in folder.iterdir()):
            hint = "choose another --name, or remove that folder"
            raise UsageError(f"there is a folder {folder} already, and it is no sweep", hint)
        return
    before = RunDirectory(folder).read_json(folder / DECLARATION)
    different = [name for name in {**declaration, **before} if before.get(name) != declaration.get(name)]
    if different:
        lines = [f"{name}: {before.get(name)}, now {declaration.get(name)}" for name in different]
        text = "\n  ".join([f"the sweep {folder} was begun otherwise", *lines])
        raise UsageError(text, "go on with the command of the beginning, or choose another --name")
