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

from trainctl.core.engine.checkpoint import Checkpoint, list_checkpoints
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
    if not is_complete(run):
        words = [str(task.experiment), "--set", f"steps={task.steps}", "--seed", str(seed), "--plain"]
        words += ["--nproc", str(workers), "--name", run.name, "--runs-dir", str(runs)]
        subprocess.run([sys.executable, "-m", "trainctl", "run", *words], check=True, stdout=sys.stderr)
    return run


def is_complete(run: Path) -> bool:
    record = run / "run.json"
    return record.exists() and json.loads(record.read_text())["attempts"][-1:][0]["status"] == "complete"


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
    """Return over steps as an SVG: for each number of workers the mean over seeds, and the band of all of them."""
    width, height, left = 640, 320, 50

    def at(step: float, value: float) -> str:
        return f"{left + width * step / task.steps:.1f},{10 + height * (1 - value / task.best):.1f}"

    parts = [f'<rect width="{width + left + 20}" height="{height + 60}" fill="white"/>']
    for share in (0.0, 0.25, 0.5, 0.75, 1.0):
        y, x = 10 + height * (1 - share), left + width * share
        parts.append(f'<line x1="{left}" x2="{left + width}" y1="{y}" y2="{y}" stroke="#ddd"/>')
        parts.append(f'<text x="{left - 6}" y="{y + 4}" text-anchor="end">{share * task.best:g}</text>')
        parts.append(f'<text x="{x}" y="{height + 28}" text-anchor="middle">{int(share * task.steps):,}</text>')
    for number, (workers, each) in enumerate(runs.items()):
        curves = [curve(run) for run in each]
        steps = sorted(set.intersection(*(set(found) for found in curves)))
        values = [[found[step] for found in curves] for step in steps]
        lower = [at(step, min(found)) for step, found in zip(steps, values, strict=True)]
        upper = [at(step, max(found)) for step, found in zip(steps, values, strict=True)]
        middle = [at(step, float(np.mean(found))) for step, found in zip(steps, values, strict=True)]
        colour = COLOURS[workers]
        band = " ".join([*lower, *reversed(upper)])
        parts.append(f'<polygon points="{band}" fill="{colour}" fill-opacity="0.15"/>')
        parts.append(f'<polyline points="{" ".join(middle)}" fill="none" stroke="{colour}" stroke-width="1.8"/>')
        label = "1 worker" if workers == 1 else f"{workers} workers"
        parts.append(f'<text x="{left + 200 * number}" y="{height + 50}" fill="{colour}">{label}</text>')
    size = f'width="{width + left + 20}" height="{height + 60}" font-family="sans-serif" font-size="12"'
    file.write_text(f'<svg xmlns="http://www.w3.org/2000/svg" {size}>{"".join(parts)}</svg>\n')


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
