from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from pathlib import Path

import pytest

from tests.cli.conftest import TINY, Trainctl

ROOT = Path(__file__).parents[2]
SRUN = """#!/bin/bash
[ "$1" = --kill-on-bad-exit=0 ] || exit 2
shift
export SLURM_STEP_NUM_NODES=1 SLURM_STEP_NUM_TASKS=1 SLURM_NODEID=0 SLURM_STEP_NODELIST=localhost
exec "$@"
"""
SCONTROL = '#!/bin/bash\necho "$@" >> "$QUEUE"\n'


@pytest.mark.parametrize("time", ["4h", "04:00:00:00", "1-", "soon"])
def test_a_time_that_slurm_would_not_take_is_refused_with_the_format(trainctl: Trainctl, time: str) -> None:
    said = trainctl("slurm-script", TINY, "--time", time)
    assert said.code == 2
    assert f"--time {time} is no time as SLURM writes it\n  write hours:minutes:seconds" in said.err


def test_the_batch_file_asks_for_what_was_asked_for(trainctl: Trainctl, tmp_path: Path) -> None:
    words = ("--nnodes", 2, "--nproc", 4, "--set", "steps=7", "--seed", 3, "--time", "01:30:00", "--grace", 90)
    said = trainctl("slurm-script", TINY, *words, "--sbatch", "partition=gpu", "--sbatch", "--cpus-per-task=9")
    assert said.code == 0, said.err
    headers = [line.removeprefix("#SBATCH ") for line in said.out.splitlines() if line.startswith("#SBATCH")]
    assert headers == [
        "--job-name=tiny-s3",
        "--nodes=2",
        "--ntasks-per-node=1",
        "--cpus-per-task=9",
        "--time=01:30:00",
        "--signal=B:USR1@90",
        "--requeue",
        "--open-mode=append",
        "--output=tiny-s3-%j.log",
        "--partition=gpu",
    ]
    command = next(line for line in said.out.splitlines() if line.startswith("srun"))
    assert f"run {TINY} --name tiny-s3 --seed 3 --set steps=7 --runs-dir runs --nproc 4 --nnodes slurm" in command
    assert subprocess.run(["bash", "-n"], input=said.out, text=True, check=False).returncode == 0


def test_no_batch_file_for_no_experiment(trainctl: Trainctl) -> None:
    said = trainctl("slurm-script", "nothing.py")
    assert (said.code, said.out) == (2, "")
    assert "there is no file nothing.py" in said.err


def test_a_job_that_is_warned_saves_and_is_queued_again(trainctl: Trainctl, tmp_path: Path) -> None:
    (tmp_path / "job.sh").write_text(trainctl("slurm-script", TINY, "--name", "job", "--set", "steps=100_000_000").out)
    job = subprocess.Popen(["bash", "job.sh"], cwd=tmp_path, env=cluster(tmp_path))
    metrics = tmp_path / "runs" / "job" / "metrics.jsonl"
    while not metrics.exists():
        assert job.poll() is None
        time.sleep(0.02)
    job.send_signal(signal.SIGUSR1)
    assert job.wait(timeout=100) == 75
    assert (tmp_path / "queue").read_text() == "requeue 41234\n"
    record = json.loads((tmp_path / "runs" / "job" / "run.json").read_text())
    assert record["attempts"][-1]["status"] == "preempted"


def cluster(folder: Path) -> dict[str, str]:
    """An environment in which `srun` runs the command here, and `scontrol` notes what it is told."""
    (folder / "bin").mkdir()
    for name, text in (("srun", SRUN), ("scontrol", SCONTROL)):
        (folder / "bin" / name).write_text(text)
        (folder / "bin" / name).chmod(0o755)
    path = f"{folder / 'bin'}:{os.environ['PATH']}"
    place = {"SLURM_JOB_ID": "41234", "QUEUE": str(folder / "queue")}
    return {**os.environ, **place, "PATH": path, "PYTHONPATH": str(ROOT)}
