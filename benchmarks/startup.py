"""From typing the command to the first rollout, beyond what `import torch` takes: medians of runs in turn.

usage: startup.py [--rounds 5]; then the imports that take longest, by package (python -X importtime).
"""

from __future__ import annotations

import argparse
import json
import re
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from statistics import median

EXPERIMENT = Path(__file__).resolve().parent.parent / "experiments" / "cartpole_ppo.py"
ROLLOUT = 8 * 128
PROMISED = 1.5
IMPORT = re.compile(r"import time:\s+(\d+) \|\s+\d+ \| +(\S+)")


def import_torch() -> float:
    """Seconds of a Python that only imports torch."""
    began = time.perf_counter()
    subprocess.run([sys.executable, "-c", "import torch"], check=True)
    return time.perf_counter() - began


def words(runs: str, module: bool = False) -> list[str]:
    program = [sys.executable, "-m", "trainctl"] if module else [str(Path(sys.executable).parent / "trainctl")]
    settings = ["--set", f"steps={ROLLOUT}", "--name", "startup", "--runs-dir", runs, "--quiet", "--device", "cpu"]
    return [*program, "run", str(EXPERIMENT), *settings]


def first_rollout() -> tuple[float, float, float]:
    """Seconds until the first rollout began, until its metrics were written, and until the command ended."""
    with tempfile.TemporaryDirectory() as runs:
        metrics = Path(runs) / "startup" / "metrics.jsonl"
        began = time.perf_counter()
        process = subprocess.Popen(words(runs))
        while process.poll() is None and not (metrics.exists() and metrics.read_bytes().endswith(b"\n")):
            time.sleep(0.005)
        written = time.perf_counter() - began
        if process.wait():
            raise SystemExit("trainctl failed")
        ended = time.perf_counter() - began
        rollout = json.loads(metrics.read_text().splitlines()[0])["wall_seconds"]
    return written - rollout, written, ended


def imports() -> Counter[str]:
    """Microseconds in each package's own modules, of those that the command imports and `import torch` does not."""
    with tempfile.TemporaryDirectory() as runs:
        command = modules(words(runs, module=True))
    known = modules([sys.executable, "-c", "import torch"])
    own: Counter[str] = Counter()
    for module in command.keys() - known.keys():
        own[module.split(".")[0]] += command[module]
    return own


def modules(command: list[str]) -> dict[str, int]:
    """Microseconds of each module that it imports."""
    done = subprocess.run([command[0], "-X", "importtime", *command[1:]], capture_output=True, text=True, check=True)
    return {module: int(microseconds) for microseconds, module in IMPORT.findall(done.stderr)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    import_torch()  # once for the file cache
    torches, runs = zip(*((import_torch(), first_rollout()) for _ in range(parser.parse_args().rounds)), strict=True)
    began, written, ended = (median(times) for times in zip(*runs, strict=True))
    base = median(torches)
    print(f"import torch                              {base:.2f} s ({min(torches):.2f}–{max(torches):.2f})")
    print(
        f"to the beginning of the first rollout     {began:.2f} s, {began - base:.2f} beyond (promised: ≤ {PROMISED})"
    )
    print(f"until it was learned from and reported    {written:.2f} s, {written - base:.2f} beyond")
    print(f"until the command had ended               {ended:.2f} s, {ended - base:.2f} beyond")
    print("\nimports beyond those of torch itself, ms by package (measuring makes them slower):")
    for package, microseconds in imports().most_common(15):
        print(f"  {package:<24}{microseconds / 1000:8.0f}")


if __name__ == "__main__":
    main()
