from __future__ import annotations

import contextlib

import pytest

from trainctl.core.engine.reporting import stopwatch
from trainctl.core.engine.reporting.stopwatch import Stopwatch


class Clock:
    """A clock that goes when told to."""

    now = 100.0

    def perf_counter(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(stopwatch, "time", clock)
    return clock


def test_a_lap_has_each_phases_share_of_its_time(clock: Clock) -> None:
    watch = Stopwatch()
    with watch.phase("collect"):
        clock.now += 3
        with watch.phase("environment"):
            clock.now += 3
    with watch.phase("learn"):
        clock.now += 1
    with watch.phase("collect"):
        clock.now += 2
    clock.now += 1
    watch.add("other", 5)
    total, shares = watch.lap()
    assert total == 10
    assert shares == {"collect": 0.8, "environment": 0.3, "learn": 0.1, "other": 0.5}


def test_a_lap_begins_the_next_one(clock: Clock) -> None:
    watch = Stopwatch()
    with watch.phase("collect"):
        clock.now += 3
    watch.lap()
    clock.now += 4
    assert watch.lap() == (4, {})


def test_the_time_until_an_error_counts(clock: Clock) -> None:
    watch = Stopwatch()
    with contextlib.suppress(KeyError), watch.phase("collect"):
        clock.now += 3
        raise KeyError
    assert watch.seconds == {"collect": 3}


def test_a_lap_of_no_time_divides_by_nothing(clock: Clock) -> None:
    watch = Stopwatch()
    watch.add("collect", 0.0)
    assert watch.lap()[1] == {"collect": 0.0}
