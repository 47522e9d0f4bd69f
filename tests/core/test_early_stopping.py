from __future__ import annotations

import json
from typing import Any

import pytest

from trainctl.core.early_stopping import EarlyStoppingCriterion, NeverEarlyStoppingCriterion, StopWhenMetricReaches
from trainctl.core.errors import ExperimentError
from trainctl.core.metrics import ScalarMeanTracker


def interval(episodes: int = 10, **means: float) -> ScalarMeanTracker:
    metrics = ScalarMeanTracker()
    metrics.add_scalars({f"episode/{name}": mean for name, mean in means.items()}, n=episodes)
    return metrics


def answers(criterion: EarlyStoppingCriterion, *intervals: ScalarMeanTracker) -> list[bool]:
    return [criterion(100 * i, 500 + 100 * i, metrics) for i, metrics in enumerate(intervals, start=1)]


def test_never_is_never() -> None:
    assert answers(NeverEarlyStoppingCriterion(), interval(), interval(success=1.0)) == [False, False]


def test_a_criterion_must_say_when() -> None:
    with pytest.raises(TypeError, match="abstract"):
        EarlyStoppingCriterion()  # type: ignore[abstract]


def test_a_criterion_of_ones_own_may_set_its_reason_and_pop_the_metrics() -> None:
    class Own(EarlyStoppingCriterion):
        def __call__(self, stage_steps: int, total_steps: int, training_metrics: ScalarMeanTracker) -> bool:
            self.reason = f"popped {training_metrics.pop_and_reset()} at {stage_steps} of {total_steps}"
            return True

    criterion = Own()
    assert criterion.reason == NeverEarlyStoppingCriterion.reason == "the early-stopping criterion is met"
    assert answers(criterion, interval(success=0.5)) == [True]
    assert criterion.reason == "popped {'episode/success': 0.5} at 100 of 600"


def test_it_stops_at_the_threshold_and_above() -> None:
    criterion = StopWhenMetricReaches("episode/return", 475)
    assert answers(criterion, interval(10, **{"return": 474.9}), interval(10, **{"return": 475.0})) == [False, True]
    assert criterion(1, 1, interval(10, **{"return": 500.0})) is True


def test_a_bare_name_is_a_metric_of_the_episodes() -> None:
    assert StopWhenMetricReaches("success", 0.9).tag == "episode/success"
    assert answers(StopWhenMetricReaches("success", 0.9), interval(success=0.95)) == [True]


def test_a_metric_that_is_none_of_an_episode_is_asked_by_its_tag() -> None:
    metrics = ScalarMeanTracker()
    metrics.add_scalars({"loss/ppo/entropy": 0.5})
    assert answers(StopWhenMetricReaches("loss/ppo/entropy", 0.4), metrics) == [True]


def test_intervals_must_reach_it_in_a_row() -> None:
    criterion = StopWhenMetricReaches("success", 0.9, consecutive_intervals=2)
    high, low = interval(success=1.0), interval(success=0.5)
    assert answers(criterion, high, low, high, high, high) == [False, False, False, True, True]


def test_nan_reaches_nothing_and_breaks_the_row() -> None:
    criterion = StopWhenMetricReaches("success", 0.9, consecutive_intervals=2)
    assert (
        answers(criterion, interval(success=1.0), interval(success=float("nan")), interval(success=1.0)) == [False] * 3
    )


def test_an_interval_that_says_too_little_is_passed_over() -> None:
    criterion = StopWhenMetricReaches("success", 0.9, consecutive_intervals=2, minimum_episodes=5)
    lucky, unlucky, enough = interval(4, success=1.0), interval(4, success=0.0), interval(5, success=1.0)
    without = interval(7, length=30)
    assert answers(criterion, lucky, lucky, enough, unlucky, without, ScalarMeanTracker(), enough) == [False] * 6 + [
        True
    ]


def test_asking_leaves_the_metrics_as_they_are() -> None:
    metrics = interval(success=1.0)
    answers(StopWhenMetricReaches("success", 0.9), metrics)
    assert metrics.means() == {"episode/success": 1.0}


def test_an_unknown_metric_is_refused_with_the_nearest_known_and_the_line_that_asked_for_it() -> None:
    criterion = StopWhenMetricReaches("succes", threshold=0.9)
    with pytest.raises(ExperimentError) as refused:
        answers(criterion, ScalarMeanTracker(), interval(success=1.0, length=30))
    text = str(refused.value)
    assert "waits for the metric 'episode/succes'" in text
    assert "did you mean 'episode/success'?" in text
    assert "'episode/length'" in text
    assert 'StopWhenMetricReaches("succes", threshold=0.9)' in text


def test_it_goes_on_from_its_saved_state() -> None:
    killed = StopWhenMetricReaches("success", 0.9, consecutive_intervals=2)
    answers(killed, interval(success=1.0))
    resumed = StopWhenMetricReaches("success", 0.9, consecutive_intervals=2)
    resumed.load_state_dict(json.loads(json.dumps(killed.state_dict())))
    assert answers(resumed, interval(length=30), interval(success=1.0)) == [False, True]


def test_the_reason_says_what_was_reached() -> None:
    criterion = StopWhenMetricReaches("success", 0.9, consecutive_intervals=2)
    assert criterion.reason == "episode/success ≥ 0.9 in 0 of 2 intervals in a row"
    answers(criterion, interval(success=1.0), interval(success=1.0))
    assert criterion.reason == "episode/success ≥ 0.9 in 2 of 2 intervals in a row"


def test_it_reads_like_the_code_that_makes_it() -> None:
    criterion = StopWhenMetricReaches("success", 0.9, minimum_episodes=5)
    assert repr(criterion) == "StopWhenMetricReaches('success', 0.9, consecutive_intervals=1, minimum_episodes=5)"


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ({"metric": ""}, "metric must be the name of a metric, not ''"),
        ({"metric": 3}, "metric must be the name of a metric, not 3"),
        ({"threshold": float("nan")}, "threshold must be a finite number, not nan"),
        ({"threshold": "0.9"}, "threshold must be a finite number, not '0.9'"),
        ({"consecutive_intervals": 0}, "consecutive_intervals must be at least 1, not 0"),
        ({"minimum_episodes": -1}, "minimum_episodes must be at least 0, not -1"),
    ],
)
def test_values_without_meaning_are_refused_when_it_is_written(words: dict[str, Any], message: str) -> None:
    with pytest.raises(ExperimentError) as refused:
        StopWhenMetricReaches(**{"metric": "success", "threshold": 0.9, **words})
    assert message in str(refused.value)
    assert "StopWhenMetricReaches(**{" in str(refused.value)
