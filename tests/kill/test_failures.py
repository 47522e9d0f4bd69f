"""Environments that fail are replaced; numbers that are not finite stop the training, and both can be seen again."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from tests.kill.processes import EXPERIMENTS, Command, checkpoints, damaged, difference, lines, run_of, settings

FAILING = EXPERIMENTS / "failing.py"


def injected(folder: Path) -> int:
    """How many failures there have been."""
    return (folder / "injected").stat().st_size


@pytest.mark.parametrize(
    ("how", "probability", "steps", "seen_again"),
    [
        ("raise", 1e-3, 6_000, "ValueError: the robot fell over"),
        ("abort", 1e-3, 6_000, "its process died with exit code -6"),
        ("hang", 1e-3, 3_000, "an environment hangs"),
        ("reset", 2e-2, 3_000, "ValueError: the robot fell over"),
    ],
)
def test_failing_environments_are_replaced_and_their_episodes_repeated(
    how: str, probability: float, steps: int, seen_again: str, tmp_path: Path
) -> None:
    words = ["run", FAILING, "--name", "first", "--quiet", *settings(how=how, probability=probability, steps=steps)]
    command = Command(tmp_path, *words)
    assert command.wait(240) == 0, command.said()
    count = injected(tmp_path)
    assert count > 0
    assert command.said().count("failed and was replaced") == count
    assert lines(tmp_path, "first")[-1]["means"]["environment/restarts"] == count
    failures = sorted(path.stem for path in run_of(tmp_path, "first").failures.iterdir())
    assert len(failures) == count
    again = Command(tmp_path, "replay", "runs/first", "--failure", failures[0])
    assert again.wait() == 0, again.said()
    assert again.said().count(seen_again) == 2


def test_too_many_failures_end_the_run_with_7(tmp_path: Path) -> None:
    words = ["run", FAILING, "--name", "first", "--quiet", *settings(how="raise", probability=0.5)]
    command = Command(tmp_path, *words)
    assert command.wait() == 7
    assert "stage 'fragile': environments have failed" in command.said()
    assert "(seed " in command.said()
    assert "after the actions [" in command.said()


@pytest.mark.parametrize(("how", "probability"), [("raise", 2e-3), ("reset", 3e-2)])
def test_an_environment_that_fails_by_its_own_seed_fails_again_after_a_resume(
    how: str, probability: float, tmp_path: Path
) -> None:
    words = settings(how=how, probability=probability, steps=3_000)
    command = Command(tmp_path, "verify-resume", FAILING, *words, "--steps", 3_000, "--at", "20%,random,80%")
    assert command.wait() == 0, command.said()
    assert "bit-exact: 3," in command.said()


@pytest.mark.parametrize(
    ("how", "said", "repeated"),
    [
        ("how=show", "first bad tensor: the batch's observations", "the batch's observations: "),
        ("bad=loss", "loss/own = nan", "loss/own = nan"),
        ("bad=gradient", "first bad gradient: value_head", "the way back from loss/own: Function"),
    ],
)
def test_numbers_that_are_not_finite_stop_the_training_before_they_do_harm(
    how: str, said: str, repeated: str, tmp_path: Path
) -> None:
    at = 150 if how == "how=show" else 0
    command = Command(tmp_path, "run", FAILING, "--name", "first", "--quiet", "--set", how, *settings(at=at))
    assert command.wait() == 6, command.said()
    assert "stage 'fragile': non-finite numbers in an update" in command.said()
    assert said in command.said()
    assert f"last checkpoint  runs/first/checkpoints/{checkpoints(tmp_path, 'first')[-1]}" in command.said()
    assert damaged(tmp_path, "first") == []
    again = Command(tmp_path, "debug-dump", "runs/first")
    assert again.wait() == 0, again.said()
    assert repeated in again.said()


def test_after_the_cause_is_gone_the_last_healthy_checkpoint_goes_on_exactly(tmp_path: Path) -> None:
    """As if it had never failed: what was not finite has left no trace."""
    shutil.copy(FAILING, tmp_path / "failing.py")
    words = ["run", "failing.py", "--quiet"]
    assert Command(tmp_path, *words, "--name", "fails", *settings(bad="loss", steps=2_000)).wait() == 6
    assert Command(tmp_path, *words, "--name", "never", *settings(bad="nothing", steps=2_000)).wait() == 0
    cured = ["resume", "--checkpoint", "runs/fails", "--quiet", "--allow-changes", *settings(bad="nothing")]
    command = Command(tmp_path, *cured)
    assert command.wait() == 0, command.said()
    assert difference(tmp_path, "never", "fails") is None
