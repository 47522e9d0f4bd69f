"""How cost grows: with environments and processes, with the size of the rollout, and with the length of a run.

usage: growth.py [environments] [groups] [memory] [length] [--steps 10_000_000]

Each part replaces its own figures in growth.json; growth.md is made from all that stands there.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from programs import HERE, run

EXPERIMENT = HERE / "experiments" / "growing.py"
ENVIRONMENTS, PROCESSES = (8, 32, 128, 512), (0, 1, 2)
STEPS = {"cartpole": 120_000, "doorkey": 24_000}  # at least; never fewer than four rollouts
MILLISECONDS, GROUPS = (2, 5, 10), (1, 2)
ROLLOUTS = (64, 256, 1024, 2048)
PAGE, MIB = os.sysconf("SC_PAGE_SIZE"), 2**20


def command(runs: str, **settings: object) -> list[object]:
    words = [word for name, value in settings.items() for word in ("--set", f"{name}={value}")]
    trainctl = Path(sys.executable).parent / "trainctl"
    return [trainctl, "run", EXPERIMENT, *words, "--json", "--quiet", "--name", "growth", "--runs-dir", runs]


def intervals(runs: str) -> list[dict[str, Any]]:
    """What was closed so far; a line that is not yet whole is not read."""
    metrics = Path(runs) / "growth" / "metrics.jsonl"
    text = metrics.read_text() if metrics.exists() else ""
    return [json.loads(line) for line in text[: text.rfind("\n") + 1].splitlines()]


def speed(after: list[dict[str, Any]], first: int) -> float:
    """Steps per second of these intervals, which began at step `first`."""
    return float((after[-1]["total_steps"] - first) / sum(one["wall_seconds"] for one in after))


def environments(_: int) -> list[dict[str, Any]]:
    """Steps per second for each task, number of environments and number of environment processes."""
    found = []
    for task in STEPS:
        for num_envs in ENVIRONMENTS:
            num_steps = max(16, 1024 // num_envs)
            steps = max(STEPS[task], 4 * num_envs * num_steps)
            for processes in PROCESSES:
                sizes = {"num_envs": num_envs, "processes": processes, "num_steps": num_steps, "steps": steps}
                with tempfile.TemporaryDirectory() as runs:
                    run(command(runs, task=task, **sizes))
                    lines = intervals(runs)
                warm = max(1, len(lines) // 5)
                found.append({"task": task, **sizes, "speed": speed(lines[warm:], lines[warm - 1]["total_steps"])})
                print(found[-1], flush=True)
    return found


def groups(_: int) -> list[dict[str, Any]]:
    """Steps collected per second in one group of environments and in two, where every step is waited for."""
    found = []
    for milliseconds in MILLISECONDS:
        for count in GROUPS * 2:
            sizes = {"num_envs": 16, "processes": 16, "num_steps": 64, "steps": 8 * 1024, "groups": count}
            with tempfile.TemporaryDirectory() as runs:
                run(command(runs, task="simulator", milliseconds=milliseconds, **sizes))
                lines = intervals(runs)[1:]
            seconds = sum(line["wall_seconds"] * line["means"]["speed/collect"] for line in lines)
            found.append({"milliseconds": milliseconds, **sizes, "speed": 1024 * len(lines) / seconds})
            print(found[-1], flush=True)
    return found


def memory(_: int) -> list[dict[str, Any]]:
    """The bytes of the rollout, and the most memory that a training with it had."""
    found = []
    for num_steps in ROLLOUTS:
        sizes = {"num_envs": 8, "num_steps": num_steps, "steps": 3 * 8 * num_steps}
        with tempfile.TemporaryDirectory() as runs:
            words = [str(word) for word in command(runs, task="noise", **sizes)]
            process = subprocess.Popen(words, stdout=subprocess.DEVNULL)
            _, status, usage = os.wait4(process.pid, 0)
        if status:
            raise SystemExit(f"{' '.join(words)} failed")
        found.append({**sizes, "rollout": rollout_bytes(num_steps, 8), "peak": usage.ru_maxrss * 1024})
        print(found[-1], flush=True)
    return found


def rollout_bytes(num_steps: int, num_envs: int) -> int:
    """Of what the environments write."""
    sys.path.insert(0, str(EXPERIMENT.parent))
    import torch
    from growing import Noise

    from trainctl.core.engine.collecting.rollout import Rollout
    from trainctl.core.tree import leaves

    spaces = (Noise.observation_space, Noise.action_space)
    rollout = Rollout(num_steps, num_envs, spaces, torch.device("cpu"))
    flags = rollout.host_flags.values()
    own = [rollout.host_actions, rollout.host_expert_actions, rollout.host_rewards, rollout.host_masks, *flags]
    return sum(array.nbytes for array in (*leaves(rollout.host_observations), *own))


def length(steps: int) -> list[dict[str, Any]]:
    """Resident memory and speed along one long run of CartPole, and their slopes."""
    with tempfile.TemporaryDirectory() as runs:
        words = [str(word) for word in command(runs, steps=steps, interval=steps // 100)]
        process = subprocess.Popen(words, stdout=subprocess.DEVNULL)
        samples = list(resident(process, runs))
        lines = intervals(runs)
    if process.returncode:
        raise SystemExit(f"{' '.join(words)} failed")
    settled = [sample for sample in samples if sample[0] >= steps / 10]
    ends = np.array([line["total_steps"] for line in lines])
    speeds = np.diff(ends) / [line["wall_seconds"] for line in lines[1:]]
    megabytes = slope(*zip(*settled, strict=True)) / MIB
    found = {"steps": steps, "first": settled[0][1], "last": settled[-1][1], "mib_per_million": megabytes}
    found |= {"speed": float(np.median(speeds)), "speed_per_million": slope(ends[1:], speeds)}
    print(found)
    return [found]


def resident(process: subprocess.Popen[bytes], runs: str) -> Iterator[tuple[int, int]]:
    """(total steps, bytes) every second while the process lives."""
    while process.poll() is None:
        time.sleep(1)
        closed = intervals(runs)
        statm = Path(f"/proc/{process.pid}/statm")
        if closed and process.poll() is None and statm.exists():
            yield closed[-1]["total_steps"], int(statm.read_text().split()[1]) * PAGE


def slope(steps: Sequence[float], values: Sequence[float]) -> float:
    """Of the least-squares line, for a million steps."""
    return float(np.polyfit(np.asarray(steps, float) / 1e6, np.asarray(values, float), 1)[0])


def markdown(known: dict[str, Any]) -> str:
    """All that was measured."""
    parts = ["# How cost grows", "", f"{os.cpu_count()} cores; made by `benchmarks/growth.py`."]
    if found := known.get("environments"):
        parts += [
            "",
            "## Environments",
            "",
            "Steps per second; 0 processes: the worker steps its environments itself.",
            "",
        ]
        header = ["task", "environments", *(f"{count} processes" for count in PROCESSES)]
        cells: dict[tuple[str, int], list[str]] = {}
        for one in found["found"]:
            cells.setdefault((one["task"], one["num_envs"]), []).append(f"{one['speed']:,.0f}")
        parts += table(header, [[task, str(count), *speeds] for (task, count), speeds in cells.items()], found["when"])
    if found := known.get("groups"):
        parts += [
            "",
            "## Groups",
            "",
            "Pictures from 16 environments in 16 processes, each waited for; the Nature CNN acts.",
            "Steps collected per second, twice measured in turn.",
            "",
        ]
        header = ["a step takes", *(f"{count} group{'s' if count > 1 else ''}" for count in GROUPS), "ratio of means"]
        parts += table(header, [group_row(found["found"], one) for one in MILLISECONDS], found["when"])
    if found := known.get("memory"):
        parts += [
            "",
            "## Memory",
            "",
            "Pictures of 28 KiB, 8 environments. Growth: by how much the largest resident memory grew",
        ]
        parts += [
            "since the row before, for each byte that the rollout grew; 1 is the rollout itself, 2 would be a copy.",
            "",
        ]
        parts += table(
            ["steps per rollout", "rollout, MiB", "peak, MiB", "growth"], memory_rows(found["found"]), found["when"]
        )
    if found := known.get("length"):
        (one,) = found["found"]
        parts += ["", "## A long run", "", f"CartPole, {one['steps']:,} steps at {one['speed']:,.0f} a second."]
        parts += [
            f"Resident memory {one['first'] / MIB:.1f} MiB after a tenth, {one['last'] / MIB:.1f} MiB at the end:"
        ]
        parts += [f"{1024 * one['mib_per_million']:+.0f} KiB per million steps. Speed:"]
        parts += [f"{one['speed_per_million']:+.0f} steps/s per million steps. {found['when']} UTC."]
    return "\n".join([*parts, ""])


def group_row(found: list[dict[str, Any]], milliseconds: int) -> list[str]:
    speeds = [
        [one["speed"] for one in found if (one["milliseconds"], one["groups"]) == (milliseconds, count)]
        for count in GROUPS
    ]
    ratio = sum(speeds[1]) / sum(speeds[0])
    return [f"{milliseconds} ms", *(", ".join(f"{one:,.0f}" for one in own) for own in speeds), f"{ratio:.2f}"]


def memory_rows(found: list[dict[str, Any]]) -> list[list[str]]:
    rows = []
    for before, one in zip([None, *found], found, strict=False):
        growth = f"{(one['peak'] - before['peak']) / (one['rollout'] - before['rollout']):.2f}" if before else ""
        rows.append([f"{8 * one['num_steps']:,}", f"{one['rollout'] / MIB:.1f}", f"{one['peak'] / MIB:.1f}", growth])
    return rows


def table(header: list[str], rows: list[list[str]], when: str) -> list[str]:
    lines = ["| " + " | ".join(cells) + " |" for cells in (header, ["---"] * len(header), *rows)]
    return [*lines, "", f"{when} UTC."]


PARTS: dict[str, Callable[[int], list[dict[str, Any]]]] = {
    part.__name__: part for part in (environments, groups, memory, length)
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("parts", nargs="*", choices=[*PARTS, []], default=list(PARTS))
    parser.add_argument("--steps", type=int, default=10_000_000, help="of the long run")
    chosen = parser.parse_args()
    kept = HERE / "growth.json"
    for name in chosen.parts:
        when = time.strftime("%Y-%m-%d %H:%M", time.gmtime())
        found = {"when": when, "found": PARTS[name](chosen.steps)}
        known = {**(json.loads(kept.read_text()) if kept.exists() else {}), name: found}
        kept.write_text(json.dumps(known, indent=1) + "\n")
        (HERE / "growth.md").write_text(markdown(known))
    print((HERE / "growth.md").read_text())


if __name__ == "__main__":
    main()
