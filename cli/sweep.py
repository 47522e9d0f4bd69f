"""`trainctl sweep`: many runs with different parameters, and the best of them."""

from __future__ import annotations

import hashlib
import shlex
import signal
import time
from collections.abc import Callable, Sequence
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ..core.errors import TrainctlError, UsageError, did_you_mean
from .child_runs import STOPPED, ChildRuns, Ended
from .options import AsJson, Device, Settings, Wandb, set_words, settings_of
from .output import lasting_output

if TYPE_CHECKING:
    from ..core.engine.commands.sweep import Sweep, Trial
    from ..core.experiment_file import LoadedExperiment

_PAUSE = 0.2  # seconds between two looks at the runs
_OTHERS_FAULT = {3, 4, 5}
"""Exit codes of a run that say nothing about its parameters: the sweep ends, and the trial can go on another time."""
_KILLS = 3  # how often a trial whose process was killed from outside is begun again
_TAGS = ("episode", "valid", "loss", "train", "off_policy", "teacher_forcing", "speed")


class Pruner(StrEnum):
    """Which trials are stopped before their end."""

    median = "median"
    halving = "halving"
    none = "none"


def sweep(
    experiment: Annotated[
        Path,
        typer.Argument(metavar="EXPERIMENT", help="A Python file with a function `experiment`.", show_default=False),
    ],
    ranges: Annotated[
        list[str],
        typer.Argument(metavar="NAME=RANGE...", help="What varies, see below.", show_default=False),
    ],
    settings: Settings,
    trials: Annotated[int, typer.Option(metavar="N", min=1, help="How many in all.")] = 20,
    jobs: Annotated[int, typer.Option(metavar="N", min=1, help="How many at a time.")] = 1,
    metric: Annotated[str, typer.Option(metavar="TAG", help="What the last value counts of.")] = "episode/return",
    lower_is_better: Annotated[bool, typer.Option("--lower-is-better", help="Of the metric.")] = False,
    pruner: Annotated[
        Pruner, typer.Option(help="Stop trials below the median, or by successive halving.")
    ] = Pruner.median,
    seed: Annotated[int, typer.Option(metavar="N", min=0, help="Of every trial, and of the search.")] = 0,
    name: Annotated[str | None, typer.Option(metavar="NAME", help="Of the folder.  [default: FILE-sweep]")] = None,
    runs_dir: Annotated[Path, typer.Option(metavar="DIR", help="Where run directories are.")] = Path("runs"),
    device: Device = "auto",
    wandb: Wandb = None,
    as_json: AsJson = False,
) -> None:
    """Train an experiment many times with different parameters of experiment(...), and name the best (extra `sweep`).

    \b
    trainctl sweep exp.py learning_rate=1e-5..1e-2:log num_envs=8,16 --trials 12 --jobs 2
    trainctl sweep exp.py gamma=0.9..0.99 num_steps=64..256:64 --metric valid/return

    \b
    LOW..HIGH        any value between them, both included (whole numbers for a whole parameter)
    LOW..HIGH:log    the same, evenly over the logarithm
    LOW..HIGH:STEP   in steps
    A,B,C            one of these

    Each trial is an ordinary run, runs/NAME/trial-000 and so on. The same command goes on with a sweep that was stopped
    or killed, trials that were training included; with more --trials it becomes longer.
    """
    from ..core.engine.commands.search_space import space_of
    from ..core.engine.commands.sweep import Sweep
    from .output import standard_output

    fixed, (tag, _, _) = settings_of(settings), metric.partition("/")
    if tag not in _TAGS or tag == metric:
        raise UsageError(f"no metric is called {metric!r}", did_you_mean(metric, ["episode/return", "valid/return"]))
    with standard_output(reserved=as_json):
        space, loaded = space_of(ranges, experiment, fixed)
        if tag == "valid" and loaded.experiment.validation is None:
            hint = "give the Experiment validation=Validation(...), or name a metric like episode/return"
            raise UsageError(f"the experiment has no validation, so there is no {metric!r}", hint)
        pipeline = loaded.experiment.pipeline
        declaration = {
            **{"experiment": loaded.path.name, "source": _digest(loaded), "settings": fixed},
            "space": {one.name: one.text for one in space},
            **{"metric": metric, "lower_is_better": lower_is_better, "pruner": pruner.value, "seed": seed},
        }
        folder = runs_dir / (name or f"{experiment.stem}-sweep")
        interval = pipeline.settings_of(pipeline.pipeline_stages[0]).metric_accumulate_interval
        made = Sweep(folder, declaration, space, interval)
        words = ["run", str(experiment), "--seed", str(seed), *set_words(fixed)]
        words += ["--device", device] if device != "auto" else []
        told = [] if wandb is None else ["--wandb", wandb.value]
        with made.opened():
            code = Sweeper(made, [*words, *told], _said).train(trials, jobs)
    _show(made, words, as_json)
    raise typer.Exit(code)


class Sweeper:
    """Trains the trials of a sweep, so many at a time.

    * words: of the command `trainctl run`, without what a trial adds to it.
    """

    def __init__(self, sweep: Sweep, words: Sequence[str], say: Callable[[str], None]) -> None:
        self.sweep, self.words, self.say = sweep, list(words), say
        self.children = ChildRuns()
        self.pruned: set[int] = set()
        self.kills: dict[int, int] = {}
        self.code = 0  # of a run that failed for a reason that has nothing to do with its parameters

    def train(self, trials: int, jobs: int) -> int:
        """Train until there are so many trials and all have ended; gives the exit code.

        A signal that asks to save and leave is passed on to all that run, and the sweep goes on another time.
        """
        waiting, children = self.sweep.unfinished(), self.children
        with lasting_output(), children.passing_signals_on():
            while not self._is_over(trials, waiting):
                while self._may_begin(trials, waiting, jobs):
                    self._begin(waiting.pop(0) if waiting else self.sweep.new_trial())
                for number in list(children.running):
                    self._prune_if_behind(number)
                for number, ended in children.ended():
                    self._note(number, ended, waiting)
                time.sleep(_PAUSE)
        if children.is_stopping:
            return 130 if children.signal == signal.SIGINT else 75
        return self.code or (0 if self.sweep.best() else 1)

    def _may_begin(self, trials: int, waiting: list[Trial], jobs: int) -> bool:
        is_wanted = bool(waiting) or len(self.sweep.trials()) < trials
        return is_wanted and len(self.children.running) < jobs and not (self.children.is_stopping or self.code)

    def _is_over(self, trials: int, waiting: list[Trial]) -> bool:
        return not self.children.running and not self._may_begin(trials, waiting, jobs=1)

    def _begin(self, trial: Trial) -> None:
        run = self.sweep.run_of(trial.number)
        while run.is_run() and run.is_in_use():  # the last process of a sweep that was killed still saves
            time.sleep(_PAUSE)
        self.say(f"trial {trial.number} begins: {_in_words(trial)}")
        if self._is_complete(trial.number):
            self._complete(trial.number)
            return
        place = ["--runs-dir", str(run.path.parent), "--name", run.path.name]
        self.children.start(trial.number, [*self.words, *set_words(trial.parameters), *place])

    def _is_complete(self, number: int) -> bool:
        run = self.sweep.run_of(number)
        return run.is_run() and run.is_finished()

    def _prune_if_behind(self, number: int) -> None:
        if number not in self.pruned and self.sweep.should_prune(number):
            self.pruned.add(number)
            self.children.stop(number)

    def _note(self, number: int, ended: Ended, waiting: list[Trial]) -> None:
        if self._is_complete(number):
            self._complete(number)
        elif number in self.pruned:
            self.sweep.prune(number)
            self.say(f"trial {number}: pruned")
        elif self.children.is_stopping:
            self.say(f"trial {number}: stopped, and goes on with the sweep")
        elif ended.code in _OTHERS_FAULT:
            self.code = ended.code
        elif (ended.code < 0 or ended.code in STOPPED) and self.kills.get(number, 0) < _KILLS:
            self.kills[number] = self.kills.get(number, 0) + 1
            waiting += [trial for trial in self.sweep.unfinished() if trial.number == number]
            self.say(f"trial {number}: its process was killed, and goes on")
        else:
            self.sweep.fail(number)
            self.say(f"trial {number}: failed, exit code {ended.code}")

    def _complete(self, number: int) -> None:
        from .text import number as short

        try:
            self.sweep.should_prune(number)  # the journal gets its last intervals
            value = self.sweep.complete(number)
        except TrainctlError:
            self.children.stop_all()
            raise
        self.say(f"trial {number}: complete, {self.sweep.declaration['metric']} {short(value)}")


def _said(text: str) -> None:
    from .console import say

    say([text])


def _in_words(trial: Trial) -> str:
    return " ".join(f"{name}={text}" for name, text in trial.parameters.items())


def _digest(loaded: LoadedExperiment) -> str:
    """Of the experiment's source: half of the trials with other code would be no sweep."""
    from ..core.experiment_file import source_files

    return hashlib.sha256(b"".join(file.read_bytes() for file in source_files(loaded))).hexdigest()[:12]


def _show(sweep: Sweep, words: Sequence[str], as_json: bool) -> None:
    from .console import show_table
    from .output import print_document
    from .text import number

    best, found = sweep.best(), sweep.trials()
    command = shlex.join(["trainctl", *words, *set_words(best.parameters)]) if best else None
    if as_json:
        print_document(_document(sweep, best, command))
        return
    sign = -1 if sweep.declaration["lower_is_better"] else 1
    found.sort(key=lambda one: (one.state != "complete", -sign * (one.value or 0.0), one.number))
    names = [one.name for one in sweep.space]
    rows = [
        [sweep.run_of(one.number).path.name, one.state, "" if one.value is None else number(one.value)]
        + [one.parameters.get(name, "") for name in names]
        for one in found
    ]
    show_table(["trial", "state", sweep.declaration["metric"], *names], rows)
    if best:
        run = shlex.quote(str(sweep.run_of(best.number).path))
        _said(f"  best        {command}")
        _said(f"  its run     trainctl evaluate {run}")
    _said(f"  watch       tensorboard --logdir {shlex.quote(str(sweep.folder))}")


def _document(sweep: Sweep, best: Trial | None, command: str | None) -> dict[str, Any]:
    def entry(trial: Trial) -> dict[str, Any]:
        run = str(sweep.run_of(trial.number).path)
        return {"run": run, "state": trial.state, "value": trial.value, "parameters": trial.parameters}

    return {
        "sweep": str(sweep.folder),
        "metric": sweep.declaration["metric"],
        "trials": [entry(trial) for trial in sweep.trials()],
        "best": None if best is None else {**entry(best), "command": command},
    }
