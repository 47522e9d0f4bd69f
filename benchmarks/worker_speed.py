"""Two workers against one, and what their messages cost: the figures of docs/scaling.md.

python benchmarks/worker_speed.py trainings     # steps/s, on a machine with 2 cores that does nothing else
python benchmarks/worker_speed.py messages      # milliseconds of an all-reduce, by bytes and workers
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import NamedTuple

import torch

HERE = Path(__file__).resolve().parent
STEPS = {"cartpole": 60_000, "doorkey": 30_000}
WAYS = {
    "1 worker": (1, 0),
    "1 worker, 2 environment processes": (1, 2),
    "2 workers": (2, 0),
}
SIZES = (9_181, 100_000, 1_000_000)
"""Floats: CartPole's update, and two larger networks'."""


def steps_per_second(task: str, workers: int, processes: int) -> dict[str, float]:
    """The medians over the intervals: speed, and the shares of time."""
    with tempfile.TemporaryDirectory() as folder:
        words = [
            str(HERE / "experiments" / f"{task}.py"),
            "--set",
            f"steps={STEPS[task]}",
            "--set",
            f"processes={processes}",
        ]
        words += ["--nproc", str(workers), "--name", "run", "--runs-dir", folder, "--quiet"]
        subprocess.run([sys.executable, "-m", "trainctl", "run", *words], check=True)
        lines = [json.loads(line) for line in (Path(folder) / "run" / "metrics.jsonl").read_text().splitlines()]
    tags = [tag for tag in lines[0]["means"] if tag.startswith("speed/")]
    return {tag.removeprefix("speed/"): statistics.median(line["means"][tag] for line in lines) for tag in tags}


def trainings() -> None:
    for task in STEPS:
        for way, (workers, processes) in WAYS.items():
            found = [steps_per_second(task, workers, processes) for _ in range(3)]
            best = max(found, key=lambda one: one["steps_per_second"])
            shares = ", ".join(f"{name} {share:.0%}" for name, share in best.items() if 0.01 < share <= 1)
            speeds = " ".join(f"{one['steps_per_second']:,.0f}" for one in found)
            print(f"| {task} | {way} | {best['steps_per_second']:,.0f} | {speeds} | {shares} |", flush=True)


def messages() -> None:
    for workers in (2, 4, 8):
        words = ["--nproc-per-node", str(workers), "--standalone", str(Path(__file__).resolve()), "one_of_many"]
        environment = {**os.environ, "OMP_NUM_THREADS": "1"}
        subprocess.run([sys.executable, "-m", "torch.distributed.run", *words], check=True, env=environment)


def one_of_many() -> None:
    """The median time of an all-reduce; the first worker says it."""
    torch.set_num_threads(1)
    torch.distributed.init_process_group("gloo")
    for size in SIZES:
        tensor, seconds = torch.zeros(size), []
        for _ in range(60):
            torch.distributed.barrier()
            began = time.perf_counter()
            torch.distributed.all_reduce(tensor)
            seconds.append(time.perf_counter() - began)
        if torch.distributed.get_rank() == 0:
            count, median = torch.distributed.get_world_size(), statistics.median(seconds[10:])
            print(f"| {count} | {4 * size:,} | {min(seconds) * 1e3:.2f} | {median * 1e3:.2f} |", flush=True)
    torch.distributed.destroy_process_group()


class Rollout(NamedTuple):
    """Of one worker, measured: steps, seconds to collect and to learn, updates, bytes of each all-reduce."""

    steps: int
    collect: float
    learn: float
    updates: int
    bytes: int


HOP, BYTES_PER_SECOND = 150e-6, 1.25e9
"""Seconds until a neighbour has a small message, as measured between two processes; a network of 10 Gbit/s, assumed."""


def all_reduce_seconds(workers: int, size: int) -> float:
    """gloo's ring: everyone hands 2 (W - 1) pieces of size / W on to its neighbour."""
    return 2 * (workers - 1) * (HOP + size / workers / BYTES_PER_SECOND)


def model(rollout: Rollout) -> None:
    """Speed by workers: where each brings its own environments, and where they share those of one (at best)."""
    alone = rollout.collect + rollout.learn
    for workers in (1, 2, 4, 8, 64, 512):
        waiting = rollout.updates * all_reduce_seconds(workers, rollout.bytes)
        growing = workers * rollout.steps / (alone + waiting)
        shared = rollout.steps / (alone / workers + waiting)
        share = alone / (alone + waiting)
        print(f"| {workers} | {waiting * 1e3:.1f} | {growing:,.0f} | {share:.0%} | {shared:,.0f} |")


MEASURED = {
    "cartpole": Rollout(1024, 0.0198, 0.0186, 16, 36_700),
    "doorkey": Rollout(1024, 0.210, 0.082, 16, 504_700),
}


def models() -> None:
    for task, rollout in MEASURED.items():
        print(task)
        model(rollout)


if __name__ == "__main__":
    parts = {"trainings": trainings, "messages": messages, "one_of_many": one_of_many, "model": models}
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("part", choices=parts)
    parts[parser.parse_args().part]()
