"""1, 2 and 4 workers with the same environments in total: the figures of docs/results/workers.md.

    python benchmarks/workers.py cartpole | doorkey

Every training is a `trainctl run` in `--runs-dir`; one that is there already is not repeated. A table goes to stdout,
the plot to the folder of the runs.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from svg import Plot

from trainctl.core.engine.saving.checkpoint import Checkpoint, list_checkpoints
from trainctl.core.engine.saving.run_directory import RunDirectory
from trainctl.core.engine.seeding import derived_seed

HERE = Path(__file__).resolve().parent
WORKERS, SEEDS = (1, 2, 4), (0, 1, 2)
COLOURS = {1: "#1f77b4", 2: "#ff7f0e", 4: "#2ca02c"}


class Task(NamedTuple):
    """What is trained. best: the highest return there is."""

    experiment: Path
    steps: int
    best: float


TASKS = {
    "cartpole": Task(HERE.parent / "experiments" / "cartpole_ppo.py", 204_800, 500.0),
    "doorkey": Task(HERE / "experiments" / "doorkey.py", 81_920, 1.0),
}


def train(runs: Path, name: str, workers: int, seed: int) -> Path:
    """The finished run of this task."""
    task, run = TASKS[name], runs / f"{name}-{workers}-workers-s{seed}"
    directory = RunDirectory(run)
    if not (directory.is_run() and directory.is_finished()):
        words = [str(task.experiment), "--set", f"steps={task.steps}", "--seed", str(seed), "--plain"]
        words += ["--nproc", str(workers), "--name", run.name, "--runs-dir", str(runs)]
        subprocess.run([sys.executable, "-m", "trainctl", "run", *words], check=True, stdout=sys.stderr)
    return run


def curve(run: Path) -> dict[int, float]:
    """Total steps -> mean return of the interval that ended there."""
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    tag = "episode/return"
    return {line["total_steps"]: line["means"][tag] for line in lines if tag in line["means"]}


def last_return(run: Path) -> float:
    """Mean return of the last tenth of the steps."""
    found = curve(run)
    return float(np.mean([value for step, value in found.items() if step > 0.9 * max(found)]))


def episode_seeds(run: Path, seed: int) -> list[int]:
    """The seeds of the episodes that the environments of all workers were in at the end."""
    checkpoint = Checkpoint.open(list_checkpoints(run / "checkpoints")[-1])
    owned = [checkpoint.own(rank)["collector"]["environments"] for rank in range(checkpoint.manifest["workers"])]
    states = {int(index): state for each in owned for index, state in each.items()}
    return [derived_seed(seed, "environment", index, state["episode"]) for index, state in sorted(states.items())]


def row(workers: int, each: Sequence[Path]) -> list[str]:
    returns = [last_return(run) for run in each]
    seeds = [episode_seeds(run, seed) for seed, run in zip(SEEDS, each, strict=True)]
    distinct = all(len(set(found)) == len(found) for found in seeds)
    steps = sorted({json.loads((run / "run.json").read_text())["total_steps"] for run in each})
    counts = [f"{value:,}" for value in steps]
    mean = f"{np.mean(returns):.3g} ± {np.std(returns, ddof=1):.2g}"
    return [str(workers), *(f"{value:.3g}" for value in returns), mean, ", ".join(counts), "yes" if distinct else "NO"]


def plot(runs: dict[int, list[Path]], task: Task, file: Path) -> None:
    """Return over steps: for each number of workers the mean over seeds, and the band of all of them."""
    drawing = Plot(task.steps, task.best)
    for workers, each in runs.items():
        curves, colour = [curve(run) for run in each], COLOURS[workers]
        steps = sorted(set.intersection(*(set(found) for found in curves)))
        values = {step: [found[step] for found in curves] for step in steps}
        lower, upper = ([(step, end(found)) for step, found in values.items()] for end in (min, max))
        drawing.band(lower, upper, colour)
        drawing.line([(step, float(np.mean(found))) for step, found in values.items()], colour)
        drawing.name("1 worker" if workers == 1 else f"{workers} workers", colour)
    drawing.write(file)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("task", choices=TASKS)
    parser.add_argument("--runs-dir", type=Path, default=Path("runs/workers"))
    given = parser.parse_args()
    folder = given.runs_dir.resolve()
    runs = {n: [train(folder, given.task, n, seed) for seed in SEEDS] for n in WORKERS}
    header = ["workers", *(f"seed {seed}" for seed in SEEDS), "mean ± sd", "steps", "all environment seeds distinct"]
    for cells in (header, ["---"] * len(header), *(row(n, each) for n, each in runs.items())):
        print("| " + " | ".join(cells) + " |")
    plot(runs, TASKS[given.task], folder / f"{given.task}.svg")


if __name__ == "__main__":
    main()
