from __future__ import annotations

import json
from typing import Any

import pytest

from trainctl.core.early_stopping import NeverEarlyStoppingCriterion, StopWhenMetricReaches
from trainctl.core.engine.early_stopping import StageCriterion
from trainctl.core.engine.progress import Progress
from trainctl.core.engine.workers.workers import SingleWorker
from trainctl.core.errors import ExperimentError, UsageError
from trainctl.core.metrics import ScalarMeanTracker


def interval(**scalars: float) -> ScalarMeanTracker:
    tracker = ScalarMeanTracker()
    tracker.add_scalars({name.replace("_", "/"): value for name, value in scalars.items()})
    return tracker


class Asked:
    """Notes what it is asked, and stops the third time. It has no state_dict."""

    def __init__(self) -> None:
        self.calls: list[dict[str, Any]] = []

    def __call__(self, **arguments: Any) -> bool:
        self.calls.append(arguments)
        return len(self.calls) >= 3


def asked() -> Any:
    return Asked()


def test_the_criterion_is_shown_the_steps_and_the_interval() -> None:
    criterion = StageCriterion(asked(), SingleWorker())
    shown = interval(episode_return=5.0)
    criterion.ask(Progress(stage_steps=200, total_steps=1200), shown)
    assert criterion.criterion.calls == [  # type: ignore[attr-defined]
        {"stage_steps": 200, "total_steps": 1200, "training_metrics": shown}
    ]


def test_it_is_not_asked_about_an_interval_without_finished_episodes() -> None:
    criterion = StageCriterion(asked(), SingleWorker())
    assert criterion.ask(Progress(), interval(loss_total=5.0)) is None
    assert criterion.criterion.calls == []  # type: ignore[attr-defined]


def test_its_reason_is_the_answer_when_it_stops() -> None:
    criterion = StageCriterion(StopWhenMetricReaches("return", 10, 2), SingleWorker())
    answers = [criterion.ask(Progress(), interval(episode_return=value)) for value in (20.0, 5.0, 11.0, 12.0)]
    assert answers[:3] == [None] * 3
    assert answers[3] is not None
    assert "episode/return ≥ 10" in answers[3]


def test_a_plain_function_has_a_reason_too() -> None:
    def stop(stage_steps: int, total_steps: int, training_metrics: ScalarMeanTracker) -> bool:
        return True

    found = StageCriterion(stop, SingleWorker()).ask(Progress(), interval(episode_return=1.0))  # type: ignore[arg-type]
    assert found == "the criterion is met"


class Told(SingleWorker):
    """Not the first worker: it is told what the first one says."""

    rank, is_first = 1, False  # type: ignore[assignment]

    def from_first(self, value: Any) -> Any:
        assert value is None
        return "the first says so"


def test_the_first_worker_asks_and_tells_the_others() -> None:
    criterion = StageCriterion(asked(), Told())
    assert criterion.ask(Progress(), interval(episode_return=1.0)) == "the first says so"
    assert criterion.criterion.calls == []  # type: ignore[attr-defined]


def test_the_declaration_stays_as_it_was_written() -> None:
    declared = StopWhenMetricReaches("return", 10, 5)
    before = declared.state_dict()
    StageCriterion(declared, SingleWorker()).ask(Progress(), interval(episode_return=11.0))
    assert declared.state_dict() == before


def test_what_it_remembers_survives_a_json_file() -> None:
    own, again = (StageCriterion(StopWhenMetricReaches("return", 10, 2), SingleWorker()) for _ in range(2))
    own.ask(Progress(), interval(episode_return=11.0))
    again.load_state_dict(json.loads(json.dumps(own.state_dict())))
    assert again.ask(Progress(), interval(episode_return=11.0)) is not None


def test_only_a_criterion_that_remembers_without_saying_so_cannot_be_saved() -> None:
    criteria = [StopWhenMetricReaches("return", 10), NeverEarlyStoppingCriterion(), asked()]
    assert [StageCriterion(criterion, SingleWorker()).is_saved for criterion in criteria] == [True, True, False]
    unsaved = StageCriterion(asked(), SingleWorker())
    assert unsaved.state_dict() == {}
    unsaved.load_state_dict({})


def test_a_criterion_that_fails_is_an_error_of_the_experiment() -> None:
    def broken(**arguments: Any) -> bool:
        raise KeyError("episode/succes")

    with pytest.raises(ExperimentError, match="raised KeyError: 'episode/succes'"):
        StageCriterion(broken, SingleWorker()).ask(Progress(), interval(episode_return=1.0))  # type: ignore[arg-type]


def test_an_error_made_for_the_user_is_passed_on() -> None:
    def refusing(**arguments: Any) -> bool:
        raise UsageError("not like this")

    with pytest.raises(UsageError, match="not like this"):
        StageCriterion(refusing, SingleWorker()).ask(Progress(), interval(episode_return=1.0))  # type: ignore[arg-type]
