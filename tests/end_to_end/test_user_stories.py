"""What ten people want to do, typed as they type it, each with what they need to see.

Their experiments are small (`stories/`) or the examples with fewer steps; the long ones are for `make soak`.
"""

from __future__ import annotations

import json
import os
import shlex
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.kill.processes import Command, checkpoints, lines, record, run_of

ROOT = Path(__file__).parents[2]
STORIES = Path(__file__).parent / "stories"


class Terminal:
    """Types commands in a folder, in processes of their own. `said`: what the last one has written to its reader."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.environment = {"COLUMNS": "120", "MINARI_DATASETS_PATH": str(folder / "datasets")}
        self.said = ""
        for file in STORIES.glob("*.py"):
            shutil.copy(file, folder)
        (folder / "datasets").mkdir()

    def begin(self, command: str) -> Command:
        program, *words = shlex.split(command)
        assert program == "trainctl"
        return Command(self.folder, *words, environment=self.environment)

    def type(self, command: str, code: int = 0) -> str:
        """What the command prints; `code`: how it ends."""
        begun = self.begin(command)
        found = begun.wait(240)
        self.said = begun.err.read_text("utf-8")
        assert found == code, f"{command}\n{begun.said()}"
        return begun.out.read_text("utf-8")

    def read(self, command: str) -> Any:
        """The document of a command with --json."""
        return json.loads(self.type(command))

    def means(self, name: str, kind: str = "train") -> list[dict[str, float]]:
        """Of each closed interval of a run."""
        return [line["means"] for line in lines(self.folder, name) if line["kind"] == kind]


@pytest.fixture
def terminal(tmp_path: Path) -> Terminal:
    return Terminal(tmp_path)


def test_the_first_hour(terminal: Terminal) -> None:
    assert "torch" in terminal.type("trainctl doctor")
    terminal.type("trainctl examples cp cartpole_ppo .")
    assert "ppo" in terminal.type("trainctl inspect-pipeline cartpole_ppo.py")
    terminal.type("trainctl run cartpole_ppo.py --set steps=4096 --name first --quiet")
    assert "runs/first: complete, 4,096 steps" in terminal.type("trainctl tail runs/first --lines 3")
    assert terminal.read("trainctl evaluate runs/first --episodes 3 --json")["return"]["mean"] > 0


def test_1_a_curriculum_whose_lessons_end_at_ninety_percent(terminal: Terminal) -> None:
    """Lina trains doors from 5x5 to 16x16, looks at the best model, and begins again from the end of a lesson."""
    assert "success ≥ 0.9" in terminal.type("trainctl inspect-pipeline door.py")
    terminal.type("trainctl run door.py --seed 1 --name door-1")
    stages = record(terminal.folder, "door-1")["stages"]
    assert [(stage["name"], stage["reason"]) for stage in stages] == [
        (name, "stopped early") for name in ("5x5", "8x8", "16x16")
    ]
    assert "stage 2 begins: 8x8" in terminal.said
    best = terminal.read("trainctl evaluate runs/door-1@best --json")
    assert best["return"]["mean"] == max(means["valid/return"] for means in terminal.means("door-1", "valid"))
    terminal.type("trainctl run door.py --from-stage 8x8 --init-from runs/door-1@stage:5x5 --name door-2")
    heir = record(terminal.folder, "door-2")
    assert [stage["name"] for stage in heir["stages"]] == ["8x8", "16x16"]
    assert Path(heir["init_from"]).name == f"step-{stages[0]['total_steps']:012d}"


@pytest.mark.soak
def test_2_imitation_then_ppo(terminal: Terminal) -> None:
    """Omar asks what the expert is worth, and trains with teacher forcing that fades out before PPO."""
    terminal.type("trainctl examples cp babyai_dagger_then_ppo babyai.py")
    short = "--set imitation_steps=2048 --set ppo_steps=1024"
    said = terminal.type(f"trainctl inspect-pipeline babyai.py {short} --dry-run")
    assert "expert        an action in 100.0% of the steps; on its own: mean return " in said
    terminal.type(f"trainctl run babyai.py {short} --name babyai-0")
    forced = [means.get("teacher_forcing/probability") for means in terminal.means("babyai-0")]
    assert forced[0] > 0.4
    assert forced[-1] is None, "in the second stage nobody asks the expert"
    assert "success" in terminal.read("trainctl evaluate runs/babyai-0 --episodes 4 --json")


@pytest.mark.soak
def test_3_demonstrations_mixed_into_ppo(terminal: Terminal) -> None:
    """Mei records what the expert does, and makes two updates with that after each of PPO's."""
    terminal.type("trainctl examples cp doorkey_demonstrations mix.py")
    card = terminal.read("trainctl record-demonstrations mix.py --episodes 20 --output doorkey/expert-v0 --json")
    assert card["episodes"] == 20
    terminal.type("trainctl run mix.py --set steps=4096 --name mix")
    (last,) = terminal.means("mix")[-1:]
    assert last["off_policy/epoch"] >= 1
    assert "off_policy/cloning/cross_entropy" in last


def test_4_a_cluster_that_takes_the_machine_away(terminal: Terminal) -> None:
    """Jonas submits the same command again, and sees how often."""
    assert "#SBATCH --time=4:00:00" in terminal.type("trainctl slurm-script door.py --time 4:00:00")
    command = "trainctl run door.py --name nav --set steps=400_000 --set learning_rate=1e-5 --quiet"
    process = terminal.begin(command)
    process.wait_until(lambda: bool(checkpoints(terminal.folder, "nav")))
    os.kill(process.pid, signal.SIGUSR1)
    assert process.wait() == 75
    (before,) = terminal.read("trainctl runs --json")
    assert (before["state"], before["attempts"]) == ("preempted", 1)
    process = terminal.begin(command)
    process.wait_until(lambda: len(checkpoints(terminal.folder, "nav")) > before["total_steps"] // 512 + 1)
    os.kill(process.pid, signal.SIGTERM)
    assert process.wait() == 75
    (after,) = terminal.read("trainctl runs --json")
    assert after["total_steps"] > before["total_steps"]
    assert after["attempts"] == 2


@pytest.mark.soak
def test_5_a_sweep(terminal: Terminal) -> None:
    """Priya searches two parameters, and types the best of them."""
    pytest.importorskip("optuna")
    ranges = "learning_rate=1e-4..1e-2:log entropy=0.0,0.01,0.03"
    found = terminal.read(f"trainctl sweep door.py {ranges} --trials 4 --jobs 2 --metric valid/return --name s --json")
    assert len(found["trials"]) == 4
    assert found["best"]["value"] == max(trial["value"] for trial in found["trials"] if trial["value"] is not None)


def test_6_numbers_that_are_not_finite(terminal: Terminal) -> None:
    """The training stops before they do harm, and the update that brought them is repeated in seconds."""
    terminal.type("trainctl run navigation.py --name x --quiet", code=6)
    assert "stage 'nav': non-finite numbers in an update" in terminal.said
    assert "trainctl debug-dump runs/x" in terminal.said
    assert "loss/own" in terminal.type("trainctl debug-dump runs/x/nan_dump")


def test_7_and_9_two_settings_compared_and_the_table_of_a_paper(terminal: Terminal) -> None:
    """What differs between runs, their curves with intervals, and a table over seeds."""
    short = "--seeds 0-1 --jobs 2 --set steps=512"
    terminal.type(f"trainctl run door.py {short} --name nav-3")
    terminal.type(f"trainctl run door.py {short} --name nav-7 --set learning_rate=1e-3")
    runs = "runs/nav-3-s0 runs/nav-3-s1 runs/nav-7-s0 runs/nav-7-s1"
    document = terminal.read(f"trainctl compare {runs} --metric valid/success --json")
    assert [len(group["runs"]) for group in document["groups"]] == [2, 2]
    assert [change["key"] for change in document["differences"][0]["settings"]] == ["optimizer.arguments.lr"]
    table = terminal.type(f"trainctl report {runs} --metric valid/return --format latex")
    assert r"door learning\_rate=1e-3" in table


def test_8_a_policy_is_evaluated_filmed_and_used_in_a_script(terminal: Terminal) -> None:
    """The numbers of the validation again, films of what went wrong, and the policy in a program of one's own."""
    terminal.type("trainctl run door.py --set steps=256 --set learning_rate=1e-6 --name nav-3 --quiet")
    document = terminal.read("trainctl evaluate runs/nav-3@best --episodes 20 --seed 5 --sample --json")
    assert document["success"]["ci95"][0] <= document["success"]["mean"] < 1
    words = "--only failures --episodes 20 --sample --output failures"
    films = terminal.read(f"trainctl record runs/nav-3@best {words} --json")
    assert len(films) == len(list((terminal.folder / "failures").glob("*-failure.gif"))) > 0
    script = """
from trainctl import load_policy
policy = load_policy("runs/nav-3@best")
from door import Door
env = Door(5)
observation, _ = env.reset(seed=0)
policy.reset()
print(env.action_space.contains(policy.act(observation)))
"""
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-c", script]
    assert subprocess.check_output(command, cwd=terminal.folder, env=environment, text=True).strip() == "True"


@pytest.mark.soak
def test_10_from_a_laptop_to_several_workers(terminal: Terminal) -> None:
    """The same file on one worker and on two: the same step counts, and lessons that stop early."""
    assert "worker" in terminal.type("trainctl inspect-pipeline door.py --nproc 2")
    terminal.type("trainctl run door.py --name laptop")
    terminal.type("trainctl run door.py --nproc 2 --name cluster")
    for name in ("laptop", "cluster"):
        assert [stage["reason"] for stage in record(terminal.folder, name)["stages"]] == ["stopped early"] * 3
        assert all(int(path.removeprefix("step-")) % 256 == 0 for path in checkpoints(terminal.folder, name))
    assert run_of(terminal.folder, "cluster").logs.is_dir()
