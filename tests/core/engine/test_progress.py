from __future__ import annotations

import json

import pytest

from tests.toys import resolved
from trainctl.core.engine.progress import STEPS_TAKEN, STOPPED_EARLY, Progress

ROLLOUT, STAGE = 200, 1000


def walk(save_intervals: list[int | None], metric_accumulate_interval: int = 400) -> tuple[list[int], list[int]]:
    """Total steps at which a run of stages of 1000 steps saves and reports, with rollouts of 200 steps."""
    progress = Progress()
    saves, reports = [], []
    for index, save_interval in enumerate(save_intervals):
        settings = resolved(save_interval=save_interval, metric_accumulate_interval=metric_accumulate_interval)
        progress.begin_stage(STAGE)
        while progress.stage_ended is None:
            progress.count_rollout(ROLLOUT)
            if progress.report_is_due(settings):
                reports.append(progress.total_steps)
                progress.last_report = progress.total_steps
                if progress.budget_is_spent():
                    progress.end_stage(f"stage {index}", STEPS_TAKEN, "")
            if progress.save_is_due(settings):
                saves.append(progress.total_steps)
                progress.last_save = progress.total_steps
        progress.next_stage()
    return saves, reports


@pytest.mark.parametrize(
    ("save_intervals", "expected"),
    [
        ([None, None], []),
        ([0, 0], [1000, 2000]),
        ([-1, -1], [1000, 2000]),
        ([700, 700], [800, 1000, 1800, 2000]),
        ([700, 0], [800, 1000, 2000]),
        ([0, 700], [1000, 1800, 2000]),
        ([200, 200], list(range(200, 2001, 200))),
        ([1, None], [200, 400, 600, 800, 1000]),
        ([5000, 5000], [1000, 2000]),
    ],
)
def test_checkpoints_appear_at_the_steps_the_rules_give(save_intervals: list[int | None], expected: list[int]) -> None:
    assert walk(save_intervals)[0] == expected


@pytest.mark.parametrize(
    ("interval", "expected"),
    [
        (1, list(range(200, 2001, 200))),
        (400, [400, 800, 1000, 1400, 1800, 2000]),
        (700, [800, 1000, 1800, 2000]),
        (10**9, [1000, 2000]),
    ],
)
def test_intervals_close_when_they_are_long_enough_and_at_the_end_of_a_stage(
    interval: int, expected: list[int]
) -> None:
    assert walk([None, None], interval)[1] == expected


def test_saving_does_not_move_the_reports() -> None:
    assert len({tuple(walk([interval, interval])[1]) for interval in (None, 0, -1, 1, 700)}) == 1


@pytest.mark.parametrize(("budget", "rollouts"), [(1, 1), (200, 1), (201, 2), (1000, 5)])
def test_a_stage_takes_whole_rollouts_until_its_steps_are_taken(budget: int, rollouts: int) -> None:
    progress = Progress()
    progress.begin_stage(budget)
    while not progress.budget_is_spent():
        progress.count_rollout(ROLLOUT)
    assert (progress.stage_rollouts, progress.stage_steps) == (rollouts, rollouts * ROLLOUT)


def test_a_stage_that_has_not_begun_has_no_budget_to_spend() -> None:
    assert not Progress().budget_is_spent()


def test_scenes_are_due_every_so_many_rollouts_of_the_stage() -> None:
    progress = Progress()
    progress.begin_stage(10_000)
    progress.count_rollout(ROLLOUT)
    progress.begin_stage(10_000)
    due = []
    for _ in range(6):
        progress.count_rollout(ROLLOUT)
        due.append(progress.scenes_are_due(resolved(advance_scene_rollout_period=3)))
    assert due == [False, False, True, False, False, True]
    assert not progress.scenes_are_due(resolved(advance_scene_rollout_period=None))


def test_a_new_stage_begins_at_zero_and_the_run_goes_on() -> None:
    progress = Progress()
    progress.begin_stage(200)
    progress.count_rollout(200)
    progress.end_stage("warm-up", STOPPED_EARLY, "good enough")
    progress.next_stage()
    assert (progress.stage_index, progress.stage_budget, progress.stage_ended) == (1, None, None)
    assert (progress.stage_steps, progress.stage_rollouts) == (0, 0)
    assert (progress.total_steps, progress.rollouts) == (200, 1)
    assert progress.stages == [
        {
            "name": "warm-up",
            "steps": 200,
            "total_steps": 200,
            "reason": STOPPED_EARLY,
            "explanation": "good enough",
        }
    ]


def test_all_counters_survive_a_json_file() -> None:
    progress = Progress()
    progress.begin_stage(500)
    progress.count_rollout(300)
    progress.end_stage("first", STEPS_TAKEN, "")
    progress.seconds, progress.last_save = 1.5, 300
    again = Progress()
    again.load_state_dict(json.loads(json.dumps(progress.state_dict())))
    assert again == progress


def test_what_was_saved_does_not_change_with_the_counters() -> None:
    progress = Progress()
    saved = progress.state_dict()
    progress.end_stage("first", STEPS_TAKEN, "")
    assert saved["stages"] == []
