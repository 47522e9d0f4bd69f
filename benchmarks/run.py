"""Side by side: trainctl and the libraries users know, in turn on this machine. Writes `results.md`; see README.md.

usage: run.py [--workloads W1 W2 W4] [--peers sb3] [--rounds 3]
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from statistics import median

from workloads import WORKLOADS

HERE = Path(__file__).parent
OURS, OURS_COMPILED = "trainctl", "trainctl --compile"
CALM = 0.3  # load per core above which a measurement waits, 15 seconds at most


def trainctl(workload: str, seed: int, *options: str) -> float:
    """Steps per second of a training through the command line, in its steady state."""
    work = WORKLOADS[workload]
    command = [str(Path(sys.executable).parent / "trainctl"), "run", str(HERE / "experiments/workload.py"), "--json"]
    chosen = ["--set", f"workload={workload}", "--set", f"steps={work.steps}", "--seed", str(seed), "--quiet"]
    with tempfile.TemporaryDirectory() as runs:
        output = _run([*command, *chosen, "--runs-dir", runs, *options])
        metrics = Path(json.loads(output)["run"]) / "metrics.jsonl"
        intervals = [json.loads(line) for line in metrics.read_text().splitlines()]
    steady = intervals[work.warm :]
    steps = steady[-1]["total_steps"] - intervals[work.warm - 1]["total_steps"]
    return float(steps / sum(interval["wall_seconds"] for interval in steady))


def peer(name: str, workload: str, seed: int) -> float:
    """Steps per second of another library, by its script in peers/."""
    python = _environment_of(name)
    output = _run(
        [str(python), "-W", "ignore", f"peers/{name}.py", workload, str(WORKLOADS[workload].steps), str(seed)]
    )
    found = json.loads(output.splitlines()[-1])
    return float(found["steps"] / found["seconds"])


def floor(workload: str) -> dict[str, float]:
    """Microseconds per step of the environments alone and of the network alone."""
    found: dict[str, float] = json.loads(_run([sys.executable, "-W", "ignore", "floor.py", workload]).splitlines()[-1])
    return found


def _environment_of(name: str) -> Path:
    """The peer's own virtual environment with its pinned versions; made when it is needed first."""
    folder = HERE / ".venvs" / name
    if not (folder / "bin/python").exists():
        subprocess.run([sys.executable, "-m", "venv", folder], check=True)
        requirements = HERE / "peers" / f"{name}-requirements.txt"
        subprocess.run([folder / "bin/python", "-m", "pip", "install", "--quiet", "-r", requirements], check=True)
    return folder / "bin/python"


def _run(command: list[str]) -> str:
    _wait_until_calm()
    done = subprocess.run(command, cwd=HERE, capture_output=True, text=True, timeout=600)
    if done.returncode:
        raise SystemExit(f"{' '.join(command)} failed:\n{done.stderr[-3000:]}")
    return done.stdout


def _wait_until_calm() -> None:
    deadline = time.monotonic() + 15
    while _busy_share() > CALM and time.monotonic() < deadline:
        time.sleep(1)


def _busy_share() -> float:
    """Share of the processors' time that anybody used in half a second; 0 where the system does not tell."""
    if not Path("/proc/stat").exists():
        return 0.0

    def ticks() -> tuple[int, int]:
        numbers = [int(number) for number in Path("/proc/stat").read_text().splitlines()[0].split()[1:9]]
        return sum(numbers), numbers[3] + numbers[4]

    (total, idle), _ = ticks(), time.sleep(0.5)
    now, now_idle = ticks()
    return 1 - (now_idle - idle) / max(now - total, 1)


def measure(workload: str, peers: list[str], rounds: int) -> str:
    """A row of the table: every program once in each round, A B C A B C …"""
    programs: dict[str, Callable[[int], float]] = {
        OURS: lambda seed: trainctl(workload, seed),
        OURS_COMPILED: lambda seed: trainctl(workload, seed, "--compile"),
        **{name: lambda seed, name=name: peer(name, workload, seed) for name in peers},  # type: ignore[misc]
    }
    found: dict[str, list[float]] = defaultdict(list)
    floors = []
    for seed in range(1, rounds + 1):
        for name, program in programs.items():
            found[name].append(program(seed))
            print(f"{workload} round {seed}: {name} {found[name][-1]:,.0f} steps/s", file=sys.stderr, flush=True)
        floors.append(floor(workload))
    return row(workload, peers, found, floors)


def row(workload: str, peers: list[str], found: dict[str, list[float]], floors: list[dict[str, float]]) -> str:
    """Medians with minimum and maximum, our ratio to each peer, and our time per step over that of the floor."""
    limit = median(sum(one.values()) for one in floors)
    parts = {name: median(one[name] for one in floors) for name in ("environment", "network")}
    cells = [f"{workload} {WORKLOADS[workload].title}"]
    cells += [f"{median(speeds):,.0f} ({min(speeds):,.0f}–{max(speeds):,.0f})" for speeds in found.values()]
    for name in peers:
        ratios = [median(found[ours]) / median(found[name]) for ours in (OURS, OURS_COMPILED)]
        cells.append(f"{ratios[0]:.2f} / {ratios[1]:.2f}")
    cells.append(f"{parts['environment']:.0f} + {parts['network']:.0f}")
    cells.append(" / ".join(f"{1e6 / median(found[ours]) / limit:.2f}" for ours in (OURS, OURS_COMPILED)))
    return "| " + " | ".join(cells) + " |"


def header(peers: list[str]) -> str:
    columns = ["workload", OURS, OURS_COMPILED, *peers, *(f"ratio to {name}" for name in peers)]
    columns += ["floor: environment + network, µs/step", "our time / floor"]
    return "| " + " | ".join(columns) + " |\n|" + "---|" * len(columns)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--workloads", nargs="+", choices=list(WORKLOADS), default=["W1", "W2", "W4"])
    parser.add_argument("--peers", nargs="*", default=["sb3"])
    parser.add_argument("--rounds", type=int, default=3)
    chosen = parser.parse_args()
    for name in chosen.peers:
        _environment_of(name)
    rows = [measure(workload, chosen.peers, chosen.rounds) for workload in chosen.workloads]
    when = time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime())
    machine = f"{os.cpu_count()} cores, {platform.machine()}, Python {platform.python_version()}"
    caption = (
        f"Steps per second, median of {chosen.rounds} (minimum–maximum); ratios eager / compiled. {when}; {machine}."
    )
    text = "\n".join(["# Results", "", caption, "", header(chosen.peers), *rows, ""])
    (HERE / "results.md").write_text(text)
    print(text)


if __name__ == "__main__":
    main()
