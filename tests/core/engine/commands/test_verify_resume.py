"""verify-resume finds what is exact exact, and names what is not, and why."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from trainctl.core.engine.commands.verify_resume import Verdict, verify_resume
from trainctl.core.engine.options import RunOptions
from trainctl.core.engine.workers.workers import Fleet
from trainctl.core.errors import ExperimentError, TrainctlError, UsageError

EXPERIMENTS = Path(__file__).parents[3] / "kill" / "experiments"
EXACT = [
    "ppo",
    "a2c",
    "teacher",
    "demonstrations",
    "minari",
    "gru",
    "lstm",
    "early_stopping",
    "normalisation",
    "scenes",
    "processes",
    "groups",
    "endless",
    "vector",
    "minigrid",
    "babyai",
    "mujoco",
    "atari",
]
QUICK = ["teacher", "groups", "lstm", "scenes", "babyai", "endless", "vector"]


def verified(file: str, steps: int, points: list[str], **settings: Any) -> Verdict:
    texts = {name: str(value) for name, value in settings.items()}
    return verify_resume(RunOptions(EXPERIMENTS / file, texts, device="cpu"), steps, points)


def check_exact(kind: str, steps: int, points: list[str], folder: Path) -> None:
    verdict = verified("matrix.py", steps, points, kind=kind, **datasets(kind, folder))
    assert verdict.first_difference is None, verdict
    assert verdict.bit_exact
    assert verdict.guarantee == "bit-exact"
    assert verdict.likely_cause is None
    assert verdict.runs is None
    assert [kill.resumed_from for kill in verdict.kills if kill.resumed_from] != []
    assert min(verdict.compared.values()) > 0


def datasets(kind: str, folder: Path) -> dict[str, str]:
    """Where the demonstrations of the matrix are: recorded from its expert."""
    if kind != "minari":
        return {}
    pytest.importorskip("minari")
    from tests.kill.experiments.matrix import Balancing
    from trainctl.core.engine.playing.demonstration_recorder import ExpertPlayer, record_demonstrations

    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MINARI_DATASETS_PATH", str(folder / "minari"))
        record_demonstrations(Balancing, ExpertPlayer(), 6, "matrix/expert-v0", seed=0, description="a test")
    return {"datasets": str(folder / "minari")}


@pytest.mark.parametrize("kind", QUICK)
def test_what_a_checkpoint_holds_is_enough(kind: str, tmp_path: Path) -> None:
    check_exact(kind, 1024, ["random", "stage-end"], tmp_path)


@pytest.mark.soak
@pytest.mark.timeout(900)
@pytest.mark.parametrize("kind", EXACT)
def test_every_way_to_train_is_resumed_exactly(kind: str, tmp_path: Path) -> None:
    check_exact(kind, 2048, ["20%", "37%", "stage-end", "random", "80%"], tmp_path)


@pytest.mark.soak
@pytest.mark.parametrize("kind", ["ppo", "gru"])
def test_two_workers_are_resumed_exactly(kind: str) -> None:
    options = RunOptions(EXPERIMENTS / "matrix.py", {"kind": kind}, device="cpu", fleet=Fleet(2, max_restarts=0))
    verdict = verify_resume(options, 2048, ["30%", "random"])
    assert verdict.bit_exact, verdict
    assert verdict.guarantee == "bit-exact"
    assert all(kill.resumed_from for kill in verdict.kills)


@pytest.mark.soak
@pytest.mark.parametrize("kind", ["ppo", "gru", "lstm"])
def test_a_compiled_training_is_resumed_exactly(kind: str) -> None:
    verdict = verify_resume(
        RunOptions(EXPERIMENTS / "matrix.py", {"kind": kind}, compile=True), 1024, ["37%", "random"]
    )
    assert verdict.bit_exact, verdict
    assert all(kill.resumed_from for kill in verdict.kills)


@pytest.mark.parametrize(
    ("settings", "cause"),
    [
        ({"wind": "system"}, "an unseeded random source: two uninterrupted runs differ as well ("),
        ({"wind": "count"}, "an environment that cannot be replayed from its seed and actions: "),
        ({"patience": True}, "an early-stopping criterion without state_dict() and load_state_dict()"),
        ({"vector": True}, "its episodes begin anew"),
    ],
)
def test_what_cannot_be_exact_is_named_with_its_cause(settings: dict[str, Any], cause: str) -> None:
    verdict = verified("inexact.py", 1536, ["70%"], **settings)
    assert not verdict.bit_exact
    assert verdict.guarantee == "exact-state"
    assert verdict.likely_cause is not None
    assert cause in verdict.likely_cause
    document = verdict.to_json()
    assert document["first_difference"]["step"] >= 96
    assert document["first_difference"]["uninterrupted"] != document["first_difference"]["resumed"]
    assert verdict.runs is not None
    assert {path.name for path in verdict.runs.iterdir() if path.is_dir()} >= {"uninterrupted", "resumed"}


@pytest.mark.parametrize(
    ("point", "words"),
    [
        ("soon", "--at 'soon' is no point of a run"),
        ("0%", "--at 0% is not within the 1,000 steps of the run"),
        ("1000", "--at 1000 is not within the 1,000 steps of the run"),
    ],
)
def test_a_point_that_is_none_is_refused(point: str, words: str) -> None:
    with pytest.raises(UsageError, match=words):
        verified("matrix.py", 1000, [point])


def test_an_experiment_that_cannot_be_loaded_is_refused_at_once() -> None:
    with pytest.raises(ExperimentError, match="nonsense"):
        verified("matrix.py", 1000, ["37%"], nonsense=1)


def test_a_training_that_fails_is_told_with_its_exit_code_and_its_last_words() -> None:
    with pytest.raises(TrainctlError, match="the uninterrupted run ended with exit code 6") as failure:
        verified("failing.py", 2000, ["37%"], bad="loss")
    assert failure.value.exit_code == 6
    assert "loss/own = nan" in str(failure.value)
