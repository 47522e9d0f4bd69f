"""All that is to be measured and checked on a GPU, in one call.

usage: gpu.py [--workloads cartpole-64 pong-256 …] [--rounds 3] [--minutes 60]

1. The tests that need a GPU: no hidden synchronisation in an update, the same bits twice with --deterministic.
2. Steps per second with and without --compile, beside Stable-Baselines3 where it is installed (in .venvs/sb3, or beside
   trainctl), in turn. Goes on gpu.json, and gpu.md is made from that; what the minutes do not reach is left out.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import asdict
from functools import partial
from pathlib import Path

import run as side_by_side
import torch
from programs import HERE, run
from table import OURS, OURS_COMPILED, Measured, table
from workloads import ON_GPU, WORKLOADS

SB3 = HERE / ".venvs" / "sb3" / "bin" / "python"
COLUMNS = {"sb3": "Stable-Baselines3"}


def sb3_python() -> Path | None:
    """A Python that has Stable-Baselines3 and sees the GPU; None where there is none."""
    if importlib.util.find_spec("stable_baselines3") and importlib.util.find_spec("sb3_contrib"):
        return Path(sys.executable)
    sees = [SB3, "-c", "import torch, sys; sys.exit(not torch.cuda.is_available())"]
    return SB3 if SB3.exists() and subprocess.run(sees).returncode == 0 else None


def sb3(python: Path, workload: str, seed: int) -> float:
    steps = WORKLOADS[workload].steps
    output = run([python, "-W", "ignore", "peers/sb3.py", workload, steps, seed, "cuda"])
    found = json.loads(output.splitlines()[-1])
    return float(found["steps"] / found["seconds"])


def programs_for(workload: str) -> dict[str, Callable[[int], float]]:
    def ours(seed: int, *options: str) -> float:
        return side_by_side.trainctl(workload, seed, "--device", "cuda", *options)

    programs: dict[str, Callable[[int], float]] = {OURS: ours, OURS_COMPILED: lambda seed: ours(seed, "--compile")}
    python = sb3_python()
    return programs if python is None else {**programs, "sb3": partial(sb3, python, workload)}


def tests_pass() -> bool:
    """Of those marked gpu; what they say goes to stdout."""
    print("tests that need a GPU", flush=True)
    return subprocess.run([sys.executable, "-m", "pytest", "-m", "gpu", "-q"], cwd=HERE.parent).returncode == 0


def record(known: dict[str, dict[str, object]], passed: bool) -> str:
    measured = {name: Measured(**found) for name, found in known.items()}  # type: ignore[arg-type]
    name, version = torch.cuda.get_device_name(), torch.__version__
    caption = (
        f"{name}, PyTorch {version}. Steps per second, median (minimum–maximum). Tests: {'pass' if passed else 'FAIL'}."
    )
    (HERE / "gpu.json").write_text(json.dumps(known, indent=1) + "\n")
    text = "\n".join(["# On a GPU", "", caption, "", table(measured, COLUMNS), ""])
    (HERE / "gpu.md").write_text(text)
    return text


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--workloads", nargs="+", choices=ON_GPU, default=ON_GPU)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--minutes", type=float, default=60)
    chosen = parser.parse_args()
    if not torch.cuda.is_available():
        sys.exit("no GPU: PyTorch sees no CUDA device here, so nothing was measured or checked")
    deadline = time.monotonic() + 60 * chosen.minutes
    passed = tests_pass()
    known: dict[str, dict[str, object]] = {}
    text = record(known, passed)
    for seed in range(1, chosen.rounds + 1):
        for workload in chosen.workloads:
            when = time.strftime("%Y-%m-%d %H:%M", time.gmtime())
            found = known.setdefault(workload, asdict(Measured(WORKLOADS[workload].title, when, {})))
            for name, program in programs_for(workload).items():
                if time.monotonic() < deadline:
                    found["speeds"].setdefault(name, []).append(program(seed))  # type: ignore[attr-defined]
                    print(f"{workload} round {seed}: {name} {found['speeds'][name][-1]:,.0f} steps/s", flush=True)  # type: ignore[index]
            text = record(known, passed)
    print(text)
    sys.exit(not passed)


if __name__ == "__main__":
    main()
