"""Side by side: trainctl and the libraries users know, in turn on this machine; see README.md.

usage: run.py [--workloads W1 W2 …] [--peers sb3 puffer sf allen] [--rounds 3]

Each workload replaces its own row in results.json; results.md and the picture are made from all that stands there.
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import platform
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

from programs import HERE, LIMIT, python_of, run
from table import OURS, OURS_COMPILED, Measured, picture, table
from workloads import ON_GPU, WORKLOADS

PEERS = {"sb3": "Stable-Baselines3", "puffer": "PufferLib", "sf": "Sample Factory", "allen": "AllenAct"}
HAVE = {
    "sb3": ("W1", "W2", "W3", "W4", "W5", "W6"), "puffer": ("W1", "W2", "W3", "W4"), "sf": ("W1", "W2", "W3", "W5"),
    "allen": ("W6", "W7"),
}  # fmt: skip
EXPERIMENTS = {"W7": HERE.parent / "experiments" / "babyai_dagger_then_ppo.py"}
PICTURE = HERE.parent / "docs" / "images" / "speed.svg"


def trainctl(workload: str, seed: int, *options: str, limit: float = LIMIT) -> float:
    """Steps per second of a training through the command line, in its steady state."""
    work = WORKLOADS[workload]
    settings = [f"workload={workload}", f"steps={work.steps}"]
    if workload in EXPERIMENTS:
        settings = [f"imitation_steps={work.steps // 2}", f"ppo_steps={work.steps // 2}"]
    experiment = EXPERIMENTS.get(workload, HERE / "experiments" / "workload.py")
    words = [word for setting in settings for word in ("--set", setting)]
    command = [sys.executable, "-m", "trainctl", "run", experiment, *words, "--seed", seed, "--json", "--quiet"]
    with tempfile.TemporaryDirectory() as runs:
        output = run([*command, "--runs-dir", runs, *options], limit)
        metrics = Path(json.loads(output)["run"]) / "metrics.jsonl"
        return steady_speed([json.loads(line) for line in metrics.read_text().splitlines()], work.warm * work.rollout)


def steady_speed(intervals: list[dict[str, Any]], warm: int) -> float:
    """Steps per second in the intervals that began after the first `warm` steps of their stage."""
    steps, seconds = 0, 0.0
    for before, interval in itertools.pairwise([{"stage_index": -1, "total_steps": 0}, *intervals]):
        began = before["stage_steps"] if before["stage_index"] == interval["stage_index"] else 0
        if began >= warm:
            steps += interval["total_steps"] - before["total_steps"]
            seconds += interval["wall_seconds"]
    return steps / seconds


def peer(name: str, workload: str, seed: int, *options: str) -> float:
    """Steps per second of another library, by its script in peers/."""
    output = run(
        [python_of(name), "-W", "ignore", f"peers/{name}.py", workload, WORKLOADS[workload].steps, seed, *options]
    )
    found = json.loads(output.splitlines()[-1])
    return float(found["steps"] / found["seconds"])


def floor(workload: str) -> dict[str, float]:
    """Microseconds per step of the environments alone and of the network alone."""
    found: dict[str, float] = json.loads(run([sys.executable, "-W", "ignore", "floor.py", workload]).splitlines()[-1])
    return found


def measure(workload: str, peers: list[str], rounds: int) -> Measured:
    """Every program once in each round, A B C A B C …"""
    programs: dict[str, Callable[[int], float]] = {
        OURS: partial(trainctl, workload),
        OURS_COMPILED: lambda seed: trainctl(workload, seed, "--compile"),
        **{name: partial(peer, name, workload) for name in peers if workload in HAVE[name]},
    }
    when = time.strftime("%Y-%m-%d %H:%M", time.gmtime())
    found = Measured(WORKLOADS[workload].title, when, {name: [] for name in programs})
    for seed in range(1, rounds + 1):
        for name, program in programs.items():
            began = time.perf_counter()
            found.speeds[name].append(program(seed))
            seconds = time.perf_counter() - began
            print(
                f"{workload} round {seed}: {name} {found.speeds[name][-1]:,.0f} steps/s, took {seconds:.0f} s",
                flush=True,
            )
        found.floors.append(floor(workload))
    return found


def record(workload: str, found: Measured) -> str:
    """Keep it in results.json, and write the table and the picture of all that is there."""
    kept = HERE / "results.json"
    known = json.loads(kept.read_text()) if kept.exists() else {}
    known[workload] = asdict(found)
    kept.write_text(json.dumps(known, indent=1) + "\n")
    measured = {name: Measured(**known[name]) for name in sorted(known)}
    rounds = {len(one.speeds[OURS]) for one in measured.values()}
    machine = f"{os.cpu_count()} cores, {platform.machine()}, Python {platform.python_version()}"
    caption = (
        f"Steps per second, median of {' or '.join(map(str, sorted(rounds)))} (minimum–maximum); ratios and times over "
        f"the floor: default / `--compile`. {machine}. Times are UTC. –: that library has no such workload."
    )
    text = "\n".join(["# Results", "", caption, "", table(measured, PEERS), ""])
    (HERE / "results.md").write_text(text)
    PICTURE.write_text(picture(measured, PEERS))
    return text


def main() -> None:
    ours = [name for name in WORKLOADS if name not in ON_GPU]
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--workloads", nargs="+", choices=ours, default=ours)
    parser.add_argument("--peers", nargs="*", choices=list(PEERS), default=list(PEERS))
    parser.add_argument("--rounds", type=int, default=3)
    chosen = parser.parse_args()
    for name in chosen.peers:
        python_of(name)
    for workload in chosen.workloads:
        text = record(workload, measure(workload, chosen.peers, chosen.rounds))
    print(text)


if __name__ == "__main__":
    main()
