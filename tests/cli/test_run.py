from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.cli.conftest import TINY, Trainctl


def files_of(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_a_run_says_where_it_is_and_what_can_be_typed_next(trainctl: Trainctl, tmp_path: Path) -> None:
    said = trainctl("run", TINY, "--name", "first")
    assert (said.code, said.out) == (0, "")
    lines = said.err.splitlines()
    assert lines[:2] == ["runs/first: new run", "environments in the training's process, learning with 1 thread"]
    assert "stage 1 begins: warm up" in lines
    assert [line.split()[:3] for line in lines if line.startswith("   ")] == [
        ["32", "warm", "up"],
        ["64", "warm", "up"],
        ["96", "ppo+imitation", "return"],
        ["128", "ppo+imitation", "return"],
    ]
    assert lines[-5:] == [
        "complete: 128 steps",
        "  run         runs/first",
        "  checkpoint  runs/first/checkpoints/step-000000000128",
        "  evaluate    trainctl evaluate --checkpoint runs/first",
        "  watch       tensorboard --logdir runs",
    ]
    assert (tmp_path / "runs" / "first" / "checkpoints" / "step-000000000128").is_dir()


def test_quiet_says_nothing(trainctl: Trainctl) -> None:
    assert trainctl("run", TINY, "--quiet") == (0, "", "")


def test_json_is_one_document_on_stdout_whatever_the_experiment_prints(trainctl: Trainctl) -> None:
    said = trainctl("run", TINY, "--name", "first", "--json", "--set", "prints=true")
    assert said.code == 0
    assert said.document == {
        "run": "runs/first",
        "status": "complete",
        "total_steps": 128,
        "stage": "ppo+imitation",
        "checkpoint": "runs/first/checkpoints/step-000000000128",
    }
    for line in ("printed by the user", "written past Python", "said by a child"):
        assert line in said.err


def test_settings_and_seed_reach_the_run(trainctl: Trainctl, tmp_path: Path) -> None:
    words = ["--set", "steps=32", "--set", " last_steps = 32", "--seed", "7", "--name", "first", "--json"]
    assert trainctl("run", TINY, *words).document["total_steps"] == 64
    record = json.loads((tmp_path / "runs" / "first" / "run.json").read_text())
    assert (record["seed"], record["settings"]) == (7, {"steps": "32", "last_steps": "32"})


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["--set", "steps"], "--set steps is not KEY=VALUE\n  write e.g. --set learning_rate=1e-3"),
        (["--set", "=3"], "--set =3 is not KEY=VALUE"),
        (["--set", "stepps=3"], "did you mean 'steps'?"),
        (["--set", "steps=many"], "steps=many"),
        (["--seed", "-1"], "greater than or equal to 0"),
        (["--device", "gpu"], "there is no device 'gpu'"),
        (["--name", "a/b"], "a run cannot be called 'a/b'"),
        (["--sed", "1"], "--seed"),
    ],
)
def test_usage_errors_end_with_2_and_write_nothing(
    trainctl: Trainctl, tmp_path: Path, words: list[str], expected: str
) -> None:
    said = trainctl("run", TINY, *words)
    assert (said.code, said.out) == (2, "")
    assert expected in said.err
    assert "Traceback" not in said.err
    assert not (tmp_path / "runs").exists()


def test_a_finished_run_of_this_name_is_not_overwritten(trainctl: Trainctl, finished: Path) -> None:
    before = files_of(finished)
    said = trainctl("run", TINY, "--name", "first")
    assert said.code == 2
    assert "there is a run runs/first already" in said.err
    assert files_of(finished) == before


@pytest.fixture
def interrupted(finished: Path) -> Path:
    """The run "first", as if it had been stopped just before it said that it is complete."""
    record = json.loads((finished / "run.json").read_text())
    record["attempts"][-1]["status"] = "interrupted"
    (finished / "run.json").write_text(json.dumps(record))
    return finished


@pytest.mark.parametrize("option", ["--compile", "--bfloat16", "--deterministic", "--init-from=runs/first"])
def test_an_interrupted_run_is_not_taken_for_one_with_options_that_it_did_not_begin_with(
    trainctl: Trainctl, interrupted: Path, option: str
) -> None:
    said = trainctl("run", TINY, "--name", "first", "--set", "learning_rate=1e-3", option)
    assert said.code == 4
    assert f"  {option.partition('=')[0]}" in said.err
    assert "trainctl run" in said.err
    again = "" if option.startswith("--init-from") else f"{option} "
    assert f"--set learning_rate=1e-3 {again}--init-from runs/first" in said.err


def test_options_that_change_no_bit_reach_an_interrupted_run_and_others_are_warned_of(
    trainctl: Trainctl, interrupted: Path
) -> None:
    words = ["--keep", 1, "--histograms", "--profile", 2, "--set", "save_interval=64"]
    said = trainctl("run", TINY, "--name", "first", *words)
    assert said.code == 0
    assert "--profile is for a new run" in said.err
    record = json.loads((interrupted / "run.json").read_text())
    assert (record["keep"], record["histograms"], record["settings"]) == (1, True, {"save_interval": "64"})


def test_runs_cannot_be_where_a_file_is(trainctl: Trainctl, tmp_path: Path) -> None:
    (tmp_path / "taken").write_text("mine")
    said = trainctl("run", TINY, "--runs-dir", "taken")
    assert said.code == 2
    assert "taken is a file" in said.err
    assert (tmp_path / "taken").read_text() == "mine"


def test_a_failure_names_the_users_line_the_last_checkpoint_and_the_command_that_goes_on(trainctl: Trainctl) -> None:
    said = trainctl("run", TINY, "--name", "first", "--set", "breaks_at=64")
    assert said.code == 1
    assert "Traceback" not in said.err
    complaint = said.err[said.err.index("error:") :]
    assert complaint.startswith("error: ValueError: the teacher went home\n  --> ")
    assert 'raise ValueError("the teacher went home")' in complaint
    assert "checkpoints/step-000000000032" in complaint
    assert f"  once mended      trainctl resume --checkpoint runs/first --experiment {TINY}" in complaint


@pytest.mark.parametrize("where", ["first", "last", "variable"])
def test_a_traceback_is_shown_to_whoever_asks(trainctl: Trainctl, monkeypatch: pytest.MonkeyPatch, where: str) -> None:
    words = ["run", TINY, "--quiet", "--set", "breaks_at=64"]
    if where == "variable":
        monkeypatch.setenv("TRAINCTL_TRACEBACK", "1")
    else:
        monkeypatch.setenv("TRAINCTL_TRACEBACK", "0")
        words = ["--traceback", *words] if where == "first" else [*words, "--traceback"]
    said = trainctl(*words)
    assert said.code == 1
    assert "Traceback (most recent call last)" in said.err
    assert "error: ValueError: the teacher went home" in said.err


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 75)])
def test_a_signal_saves_and_says_how_to_go_on(tmp_path: Path, number: signal.Signals, code: int) -> None:
    words = ["run", str(TINY), "--name", "first", "--json", "--set", "steps=100_000_000"]
    environment = {**os.environ, "PYTHONPATH": str(TINY.parents[3])}
    with subprocess.Popen(
        [sys.executable, "-m", "trainctl", *words],
        cwd=tmp_path,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stderr is not None
        while " 320 " not in process.stderr.readline():
            assert process.poll() is None
        process.send_signal(number)
        out, err = process.communicate(timeout=60)
    document = json.loads(out)
    assert process.returncode == code
    assert document["status"] == {130: "interrupted", 75: "preempted"}[code]
    assert document["checkpoint"].endswith(f"step-{document['total_steps']:012d}")
    assert "trainctl resume --checkpoint runs/first" in err


def test_whoever_reads_what_it_says_may_go_before_it_has_saved(tmp_path: Path) -> None:
    """As with Ctrl-C at `trainctl run … | tee log`, which is for both of them."""
    words = ["run", str(TINY), "--name", "first", "--set", "steps=100_000_000"]
    environment = {**os.environ, "PYTHONPATH": str(TINY.parents[3])}
    reading, writing = os.pipe()
    process = subprocess.Popen(
        [sys.executable, "-m", "trainctl", *words], cwd=tmp_path, env=environment, stdout=writing, stderr=writing
    )
    os.close(writing)
    with os.fdopen(reading) as said:
        while " 320 " not in said.readline():
            assert process.poll() is None
    process.send_signal(signal.SIGINT)
    assert process.wait(60) == 130
    record = json.loads((tmp_path / "runs" / "first" / "run.json").read_text())
    assert record["attempts"][-1]["status"] == "interrupted"
    assert (tmp_path / "runs" / "first" / "checkpoints" / f"step-{record['total_steps']:012d}").is_dir()


def test_what_fails_while_environment_processes_live_ends_at_once(tmp_path: Path) -> None:
    words = ["run", str(TINY), "--set", "pause=0.001", "--set", "learning_rate=-1"]
    environment = {**os.environ, "PYTHONPATH": str(TINY.parents[3])}
    done = subprocess.run(
        [sys.executable, "-m", "trainctl", *words],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode in (1, 2)
    assert "Invalid learning rate" in done.stderr
