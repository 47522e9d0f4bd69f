from __future__ import annotations

from pathlib import Path

import pytest
from syrupy.assertion import SnapshotAssertion

from tests.cli.conftest import TINY, Trainctl

ROOT = Path(__file__).parents[2]
BROKEN = Path(__file__).parents[1] / "core" / "broken"


@pytest.mark.parametrize("width", ["80", "140"])
def test_the_table(
    trainctl: Trainctl, monkeypatch: pytest.MonkeyPatch, snapshot: SnapshotAssertion, width: str
) -> None:
    monkeypatch.setenv("COLUMNS", width)
    said = trainctl("inspect-pipeline", TINY)
    assert (said.code, said.err) == (0, "")
    table = said.out[said.out.index("\nsteps ") :]
    assert max(map(len, table.splitlines())) <= int(width)
    assert said.out == snapshot


def test_json_has_every_setting_in_force(trainctl: Trainctl) -> None:
    document = trainctl("inspect-pipeline", TINY, "--set", "steps=32", "--json").document
    assert document["experiment"] == str(TINY)
    first, second = document["stages"]
    assert (first["name"], first["max_stage_steps"], first["loss_names"]) == ("warm up", 32, ["imitation"])
    assert second["loss_weights"] == [1, 0.5]
    assert (first["settings"]["gamma"], second["settings"]["gamma"]) == (0.99, 0.9)
    assert set(first["settings"]) == {
        "num_mini_batch", "update_repeats", "max_grad_norm", "num_steps", "gamma", "use_gae", "gae_lambda",
        "advance_scene_rollout_period", "save_interval", "metric_accumulate_interval", "grad_norm_type",
    }  # fmt: skip
    assert "run" not in document
    assert "dry_run" not in document


def test_a_run_shows_where_it_stands(trainctl: Trainctl, finished: Path) -> None:
    document = trainctl("inspect-pipeline", "runs/first", "--json").document
    assert document["run"] == {
        "path": "runs/first",
        "checkpoint": "runs/first/checkpoints/step-000000000128",
        "finished": True,
        "stage": "ppo+imitation",
        "stage_index": 1,
        "stage_steps": 64,
        "stage_budget": 64,
        "total_steps": 128,
        "share": 1.0,
        "threads": 1,
        "compile": False,
        "bfloat16": False,
    }
    earlier = trainctl("inspect-pipeline", "runs/first/checkpoints/step-000000000096", "--json").document["run"]
    assert (earlier["stage_steps"], earlier["share"], earlier["finished"]) == (32, 0.75, False)
    said = trainctl("inspect-pipeline", "runs/first/checkpoints/step-000000000096")
    assert said.out.splitlines()[-2:] == [
        "━━━━━━━━━━━━━━━╌╌╌╌╌ 75%  in stage 2 of 2, 'ppo+imitation', 96 steps, "
        "checkpoint runs/first/checkpoints/step-000000000096",
        "learning with 1 thread",
    ]


def test_a_run_that_has_no_checkpoint_is_at_its_beginning(trainctl: Trainctl) -> None:
    assert trainctl("run", TINY, "--name", "first", "--set", "breaks_at=64", "--set", "save_interval=0").code == 1
    run = trainctl("inspect-pipeline", "runs/first", "--json").document["run"]
    assert (run["checkpoint"], run["total_steps"], run["share"], run["stage"]) == (None, 0, 0.0, "warm up")


def test_a_dry_run_trains_each_stage_once_and_writes_nothing(trainctl: Trainctl, tmp_path: Path) -> None:
    said = trainctl("inspect-pipeline", TINY, "--dry-run", "--json")
    found = said.document["dry_run"]
    assert (found["observation_space"], found["observations"]) == ("Box((4,), float32)", {"": "float32 (4,)"})
    assert found["action_space"] == "Discrete(2)"
    assert found["parameters"] == 4 * 8 + 8 + 8 * 2 + 2 + 4 * 8 + 8 + 8 + 1
    assert found["checkpoint_bytes"] > 4 * found["parameters"]
    assert found["peak_memory_bytes"] > 50_000_000
    warm_up, ppo = found["stages"]
    assert (warm_up["name"], warm_up["steps"], warm_up["max_stage_steps"]) == ("warm up", 32, 64)
    assert 0.5 < warm_up["expert"]["available"] <= 1
    assert warm_up["expert"]["mean_return"] > 50
    assert "loss/ppo/policy" in ppo["means"]
    assert found["seconds"] == pytest.approx(sum(64 / stage["steps_per_second"] for stage in (warm_up, ppo)))
    assert list(tmp_path.iterdir()) == []


def test_a_dry_run_in_words(trainctl: Trainctl) -> None:
    lines = trainctl("inspect-pipeline", TINY, "--dry-run", "--set", "steps=1_000_000").out.splitlines()
    labels = [line.split()[0] for line in lines[lines.index("actions       Discrete(2)") :]]
    assert labels == ["actions", "model", "memory", "checkpoint", *["stage", "environments", "expert"] * 2, "time"]
    assert "environments  in the training's process" in lines
    assert "model         107 parameters, learning with 1 thread" in lines
    assert any(line.startswith("stage         warm up: one rollout is 32 steps, ") for line in lines)


@pytest.mark.parametrize(
    ("path", "code", "expected"),
    [
        (BROKEN / "several_faults.py", 2, "8 errors"),
        (BROKEN / "whol.py", 2, "did you mean 'whole.py'?"),
        (BROKEN / "whole", 2, "did you mean 'whole.py'?"),
        ("runs/nothing", 3, "does not exist"),
    ],
)
def test_what_cannot_be_inspected(trainctl: Trainctl, path: Path, code: int, expected: str) -> None:
    said = trainctl("inspect-pipeline", path)
    assert (said.code, said.out) == (code, "")
    assert expected in said.err


def test_the_settings_of_a_run_are_fixed(trainctl: Trainctl, finished: Path) -> None:
    said = trainctl("inspect-pipeline", "runs/first", "--set", "steps=3")
    assert said.code == 2
    assert "the settings of a run are fixed" in said.err


def test_what_each_worker_gets(trainctl: Trainctl) -> None:
    words = ("inspect-pipeline", ROOT / "experiments" / "cartpole_ppo.py", "--set", "num_envs=7", "--nproc", 2)
    first, second = trainctl(*words, "--json").document["workers"]
    assert (first["environments"], second["environments"]) == ([0, 1, 2, 3], [4, 5, 6])
    assert first["batches"] == [{"stage": "ppo", "rollout": 512, "minibatch": 128}]
    assert second["batches"] == [{"stage": "ppo", "rollout": 384, "minibatch": 96}]
    seeds = [*first["seeds"], *second["seeds"]]
    assert len(set(seeds)) == 7
    assert trainctl(*words).out.splitlines()[-4:] == [
        "workers      2, environments 7 = 1 × 4 + 1 × 3",
        "batch        ppo: rollout 896 = 1 × 512 + 1 × 384 steps, minibatch 224 = 1 × 128 + 1 × 96",
        f"worker 0     environments 0 to 3, their first episodes' seeds {' '.join(map(str, seeds[:4]))}",
        f"worker 1     environments 4 to 6, their first episodes' seeds {' '.join(map(str, seeds[4:]))}",
    ]
    too_many = trainctl(*words[:-1], 8)
    assert too_many.code == 2
    assert "7 environments cannot be dealt to 8 workers" in too_many.err
