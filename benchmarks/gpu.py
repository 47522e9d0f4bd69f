"""All that is to be measured and checked on a GPU, in one call.

usage: gpu.py [--workloads cartpole-64 pong-256 …] [--rounds 3] [--minutes 60] [--no-tests] [--install]

1. The tests that need a GPU: no hidden synchronisation in an update, the same bits twice with --deterministic, …
2. Steps per second as it is, with --compile (CUDA graphs), with --bfloat16 and with both, beside Stable-Baselines3 and
   CleanRL where they are installed (in .venvs/, or beside trainctl), in turn. What was measured replaces its rows in
   gpu.json, and gpu.md is made from that; what the minutes do not reach is left out, and so is a program that fails.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

import run as side_by_side
import torch
from programs import HERE, LIMIT, python_of, run
from table import OURS, OURS_COMPILED, Measured, table
from workloads import ON_GPU, WORKLOADS

ROOT = HERE.parent
OPTIONS = {
    OURS: [],
    OURS_COMPILED: ["--compile"],
    "trainctl --bfloat16": ["--bfloat16"],
    "trainctl --compile --bfloat16": ["--compile", "--bfloat16"],
}
PEERS = {"sb3": "Stable-Baselines3", "cleanrl": "CleanRL"}
NEEDS = {"sb3": ("stable_baselines3", "sb3_contrib"), "cleanrl": ("stable_baselines3", "cleanrl.ppo_atari")}
SECONDS_AT_LEAST = 20
"""What a measurement takes however short it is: with less time left none is begun."""

Program = Callable[[int, float], float]
"""Seed and seconds that it may take → steps per second."""


def python_for(peer: str) -> Path | None:
    """A Python that has the peer and sees the GPU: this one or the peer's own; None where there is none."""
    if all(_is_here(module) for module in NEEDS[peer]):
        return Path(sys.executable)
    own = HERE / ".venvs" / peer / "bin" / "python"
    sees = [own, "-c", "import torch, sys; sys.exit(not torch.cuda.is_available())"]
    return own if own.exists() and subprocess.run(sees).returncode == 0 else None


def _is_here(module: str) -> bool:
    try:
        return importlib.util.find_spec(module) is not None
    except ModuleNotFoundError:  # the package it would be in
        return False


def theirs(python: Path, peer: str, workload: str, seed: int, limit: float) -> float:
    steps = WORKLOADS[workload].steps
    output = run([python, "-W", "ignore", f"peers/{peer}.py", workload, steps, seed, "cuda"], limit)
    found = json.loads(output.splitlines()[-1])
    return float(found["steps"] / found["seconds"])


def ours(options: list[str], workload: str, seed: int, limit: float) -> float:
    return side_by_side.trainctl(workload, seed, "--device", "cuda", *options, limit=limit)


def programs_for(workload: str) -> dict[str, Program]:
    """CleanRL has no script with the residual network."""
    programs: dict[str, Program] = {name: partial(ours, own, workload) for name, own in OPTIONS.items()}
    for peer in PEERS:
        python = None if (peer, WORKLOADS[workload].network) == ("cleanrl", "residual") else python_for(peer)
        if python is not None:
            programs[peer] = partial(theirs, python, peer, workload)
    return programs


def tests_pass(limit: float) -> bool:
    """Of those marked gpu; what they say goes to stdout."""
    print("tests that need a GPU", flush=True)
    command = [sys.executable, "-m", "pytest", "-m", "gpu", "-q", "-p", "no:cacheprovider", "tests"]
    try:
        return subprocess.run(command, cwd=ROOT, timeout=limit).returncode == 0
    except subprocess.TimeoutExpired:
        print(f"the tests were not done after {limit:.0f} s", flush=True)
        return False


def measured_within(program: Program, seed: int, seconds: float) -> float | str:
    """Steps per second, or why there are none."""
    if seconds < SECONDS_AT_LEAST:
        return "no time left"
    try:
        return program(seed, min(seconds, LIMIT))
    except subprocess.TimeoutExpired:
        return f"not done after {min(seconds, LIMIT):.0f} s"
    except SystemExit as failed:
        return str(failed)


def record(new: dict[str, Measured], tests: str) -> str:
    """Keep it in gpu.json, and write the table of all that is there."""
    kept = HERE / "gpu.json"
    known: dict[str, Any] = json.loads(kept.read_text()) if kept.exists() else {}
    known |= {name: asdict(found) for name, found in new.items()}
    kept.write_text(json.dumps(known, indent=1) + "\n")
    measured = {name: Measured(**known[name]) for name in ON_GPU if name in known}
    caption = (
        f"{torch.cuda.get_device_name()}, {os.cpu_count()} cores, PyTorch {torch.__version__}. Steps per second, "
        f"median (minimum–maximum). Tests that need a GPU, in the last call: {tests}."
    )
    text = "\n".join(["# On a GPU", "", caption, "", table(measured, PEERS, list(OPTIONS)), ""])
    (HERE / "gpu.md").write_text(text)
    return text


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--workloads", nargs="+", choices=ON_GPU, default=ON_GPU)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--minutes", type=float, default=60)
    parser.add_argument("--tests", action=argparse.BooleanOptionalAction, default=True)
    parser.add_argument("--install", action="store_true", help="make the peers' virtual environments first")
    chosen = parser.parse_args()
    if not torch.cuda.is_available():
        sys.exit("no GPU: PyTorch sees no CUDA device here, so nothing was measured or checked")
    os.environ["PYTHONPATH"] = os.pathsep.join([str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])])
    for peer in PEERS if chosen.install else ():
        python_of(peer)
    deadline = time.monotonic() + 60 * chosen.minutes
    tests = "not run"
    if chosen.tests:
        tests = "pass" if tests_pass(deadline - time.monotonic()) else "FAIL"
    print(measure_all(chosen.workloads, chosen.rounds, deadline, tests))
    sys.exit(tests == "FAIL")


def measure_all(workloads: list[str], rounds: int, deadline: float, tests: str) -> str:
    """Every program of every workload once in each round; after each workload all that is known so far is written."""
    when = time.strftime("%Y-%m-%d %H:%M", time.gmtime())
    new: dict[str, Measured] = {}
    text = record(new, tests)
    for seed in range(1, rounds + 1):
        for workload in workloads:
            for name, program in programs_for(workload).items():
                speed = measured_within(program, seed, deadline - time.monotonic())
                shown = speed if isinstance(speed, str) else f"{speed:,.0f} steps/s"
                print(f"{workload} round {seed}: {name} {shown}", flush=True)
                if isinstance(speed, float):
                    found = new.setdefault(workload, Measured(WORKLOADS[workload].title, when, {}))
                    found.speeds.setdefault(name, []).append(speed)
            text = record(new, tests)
    return text


if __name__ == "__main__":
    main()
