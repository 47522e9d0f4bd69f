"""What imitation is worth: the figures of docs/results/imitation.md.

    python benchmarks/imitation.py goto_object | poisoned_doors | random_settings | curriculum | demonstrations

Every training is a `trainctl run` in `--runs-dir`; one that is there already is not repeated. Tables go to stdout, the
plot of `demonstrations` to the folder of the runs.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from svg import Plot

EXPERIMENTS = Path(__file__).resolve().parent.parent / "experiments"


class Bench:
    """Trainings in one folder, for several seeds."""

    def __init__(self, runs: Path, seeds: list[int]) -> None:
        self.runs, self.seeds = runs.resolve(), seeds
        self.environment = {**os.environ, "MINARI_DATASETS_PATH": str(self.runs / "minari")}

    def train(self, experiment: str, seed: int, **settings: Any) -> Path:
        """The run of this experiment with these settings."""
        name = "-".join([experiment, *(f"{key}={value}" for key, value in settings.items()), f"seed={seed}"])
        run = self.runs / name
        if not run.exists():
            words = [word for key, value in settings.items() for word in ("--set", f"{key}={value}")]
            file = EXPERIMENTS / f"{experiment}.py"
            began = time.perf_counter()
            self._trainctl("run", file, *words, "--seed", seed, "--name", name, "--runs-dir", self.runs, "--plain")
            (run / "wall_seconds").write_text(f"{time.perf_counter() - began:.1f}")
        return run

    def record(self, experiment: str, episodes: int, name: str) -> None:
        """A dataset of the experiment's expert."""
        if not (self.runs / "minari" / name).exists():
            (self.runs / "minari").mkdir(parents=True, exist_ok=True)
            file = EXPERIMENTS / f"{experiment}.py"
            self._trainctl("record-demonstrations", file, "--episodes", episodes, "--output", name)

    def evaluate(self, run: Path, episodes: int, how: str, metric: str) -> float:
        """The mean of a metric over episodes with fixed seeds."""
        words = ("evaluate", "--checkpoint", run, "--episodes", episodes, how, "--json")
        document = json.loads(self._trainctl(*words, capture=True))
        return float(document[metric]["mean"])

    def _trainctl(self, *words: object, capture: bool = False) -> str:
        command = [sys.executable, "-m", "trainctl", *map(str, words)]
        output = subprocess.PIPE if capture else sys.stderr
        done = subprocess.run(command, env=self.environment, check=True, stdout=output, text=True)
        return done.stdout or ""


def curve(run: Path, tag: str) -> dict[int, float]:
    """Total steps -> the metric's mean of the interval that ended there."""
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    return {line["total_steps"]: line["means"][tag] for line in lines if tag in line["means"]}


def first_reached(run: Path, threshold: float) -> int | None:
    """Total steps at the end of the first interval whose success was so high."""
    return next((step for step, value in curve(run, "episode/success").items() if value >= threshold), None)


def table(header: list[str], rows: list[list[object]]) -> None:
    """A Markdown table on stdout."""
    for row in (header, ["---"] * len(header), *rows):
        print("| " + " | ".join(str(cell) for cell in row) + " |")


def goto_object(bench: Bench) -> None:
    rows: list[list[object]] = []
    for seed in bench.seeds:
        run = bench.train("goto_object", seed)
        steps = max(curve(run, "train/learning_rate"))
        success = bench.evaluate(run, 50, "--deterministic", "success")
        rows.append([seed, f"{steps:,}", success, (run / "wall_seconds").read_text()])
    table(["seed", "steps", "success on 50 fixed tasks", "seconds in all"], rows)


METHODS = ("imitation", "ppo", "dagger_then_ppo", "demonstrations_and_ppo")


def poisoned_doors(bench: Bench) -> None:
    bench.record("poisoned_doors", 1000, "poisoned-doors/expert-v0")
    rows: list[list[object]] = []
    for method in METHODS:
        runs = [bench.train("poisoned_doors", seed, method=method) for seed in bench.seeds]
        returns = [bench.evaluate(run, 1000, "--sample", "return") for run in runs]
        rows.append([method, *(f"{value:.2f}" for value in returns), f"{np.mean(returns):.2f}"])
    table(["method", *(f"seed {seed}" for seed in bench.seeds), "mean return"], rows)


def random_settings(bench: Bench) -> None:
    bench.record("poisoned_doors", 1000, "poisoned-doors/expert-v0")
    draws = np.random.default_rng(0)
    settings = [
        {"learning_rate": f"{10 ** draws.uniform(-4, -1.5):.1e}", "imitation_share": f"{draws.uniform(0.1, 0.9):.2f}"}
        for _ in range(10)
    ]
    rows: list[list[object]] = []
    for method in METHODS[2:]:
        runs = [bench.train("poisoned_doors", 0, method=method, **chosen) for chosen in settings]
        returns = sorted(bench.evaluate(run, 1000, "--sample", "return") for run in runs)
        rows.append([method, f"{returns[-1]:.2f}", f"{np.median(returns):.2f}", f"{returns[0]:.2f}"])
    table(["method", "best of 10 random settings", "median", "worst"], rows)


def curriculum(bench: Bench) -> None:
    rows: list[list[object]] = []
    for seed in bench.seeds:
        run = bench.train("doorkey_curriculum", seed)
        stages = json.loads((run / "run.json").read_text())["stages"]
        rows.append([seed, *(f"{stage['steps']:,} ({stage['reason']})" for stage in stages)])
    table(["seed", "5x5", "6x6", "8x8"], rows)


def demonstrations(bench: Bench) -> None:
    bench.record("doorkey_demonstrations", 500, "doorkey/expert-v0")
    runs = {
        name: [bench.train("doorkey_demonstrations", seed, updates=updates, steps=steps) for seed in bench.seeds]
        for name, updates, steps in (("PPO and demonstrations", 2, 150_000), ("PPO alone", 0, 500_000))
    }
    rows: list[list[object]] = [
        [name, *(f"{step:,}" if (step := first_reached(run, 0.9)) else "never" for run in each)]
        for name, each in runs.items()
    ]
    table(["steps to 90 % success", *(f"seed {seed}" for seed in bench.seeds)], rows)
    plot(runs, bench.runs / "demonstrations.svg")


def plot(runs: dict[str, list[Path]], file: Path) -> None:
    """Success over steps, one line for each run."""
    curves = {name: [curve(run, "episode/success") for run in each] for name, each in runs.items()}
    drawing = Plot(max(max(found) for each in curves.values() for found in each))
    for (name, each), colour in zip(curves.items(), ("#1f77b4", "#ff7f0e"), strict=True):
        for found in each:
            drawing.line(found.items(), colour)
        drawing.name(name, colour)
    drawing.write(file)
    print(f"\n{file}")


PARTS: dict[str, Callable[[Bench], None]] = {
    part.__name__: part for part in (goto_object, poisoned_doors, random_settings, curriculum, demonstrations)
}

if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("part", choices=PARTS)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--runs-dir", type=Path, default=Path("runs/imitation"))
    given = parser.parse_args()
    PARTS[given.part](Bench(given.runs_dir, given.seeds))
