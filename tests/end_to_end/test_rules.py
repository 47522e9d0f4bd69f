"""The rules of training, seen from outside: when it saves, when it ends, and what may not change a bit."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.end_to_end.runs import checkpoint_steps, metrics, run, weights


@pytest.mark.parametrize(
    ("save", "second_save", "expected"),
    [
        ("None", "inherit", []),
        ("0", "inherit", [1000, 2000]),
        ("-1", "inherit", [1000, 2000]),
        ("700", "inherit", [800, 1000, 1800, 2000]),
        ("700", "0", [800, 1000, 2000]),
        ("None", "700", [1800, 2000]),
        ("1000", "inherit", [1000, 2000]),
    ],
)
def test_checkpoints_stand_at_the_steps_the_rules_give(
    tmp_path: Path, save: str, second_save: str, expected: list[int]
) -> None:
    assert checkpoint_steps(run(tmp_path, "a", save=save, second_save=second_save)) == expected


def test_the_same_seed_gives_the_same_bits_and_another_seed_others(tmp_path: Path) -> None:
    first, again, other = run(tmp_path, "a"), run(tmp_path, "b"), run(tmp_path, "c", seed=2)
    assert weights(first) == weights(again)
    assert metrics(first) == metrics(again)
    assert weights(first) != weights(other)


@pytest.mark.parametrize("changed", [{"save": 200}, {"save": 0}, {"interval": 200}, {"should_log": False}])
def test_what_is_saved_and_logged_changes_no_bit_of_the_weights(tmp_path: Path, changed: dict[str, object]) -> None:
    assert weights(run(tmp_path, "a")) == weights(run(tmp_path, "b", **changed))


def test_two_stages_overshoot_by_less_than_a_rollout_each(tmp_path: Path) -> None:
    # 4 environments × 500 steps: rollouts of 2,000, as in the published 300,000 that ends at 302,000
    file = tmp_path / "small.py"
    run(tmp_path, "make_the_file", steps=1)
    source = file.read_text().replace("max_stage_steps=steps", "max_stage_steps=(17_907, 12_093)[index]")
    file.write_text(source)
    outcome = run(tmp_path, "a", num_steps=500)
    assert [stage["steps"] for stage in json.loads((outcome.run / "run.json").read_text())["stages"]] == [
        18_000,
        14_000,
    ]
    assert outcome.total_steps == 32_000


def test_should_log_false_silences_tensorboard_and_keeps_the_lines(tmp_path: Path) -> None:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    outcome = run(tmp_path, "a", should_log=False)
    events = EventAccumulator(str(outcome.run / "tensorboard"))
    events.Reload()
    assert events.Tags()["scalars"] == []
    assert [line["total_steps"] for line in metrics(outcome)] == [400, 800, 1000, 1400, 1800, 2000]


def test_an_existing_run_is_not_overwritten(tmp_path: Path) -> None:
    from trainctl import TrainctlError

    before = weights(run(tmp_path, "a"))
    with pytest.raises(TrainctlError, match="already"):
        run(tmp_path, "a")
    assert weights(run(tmp_path, "b")) == before
