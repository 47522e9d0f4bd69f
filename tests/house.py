"""The plan of the house: which file stands on which floor. `tests/test_architecture.py` holds it."""

from __future__ import annotations

# Top to bottom: what a floor is for, and its rooms. A room is a file without ".py", or a folder with
# all files that have no room of their own.
HOUSE: list[tuple[str, list[str]]] = [
    ("the import name", ["trainctl"]),
    ("what you type", ["cli"]),
    (
        "one process or many",
        [
            "core/engine/__init__",
            "core/engine/launch",
            "core/engine/workers/elastic",
            "core/engine/commands/verify_resume",
        ],
    ),
    ("what other commands do", ["core/engine/commands", "core/engine/saving/resuming"]),
    (
        "one attempt to train, and how it ends",
        [
            "core/engine/attempt",
            "core/engine/reporting/film_sink",
            "core/engine/reporting/profile",
            "core/engine/saving/guarantee",
        ],
    ),
    (
        "a trained model that plays",
        ["core/engine/playing/filming", "core/engine/playing/policy", "core/engine/saving/from_checkpoint"],
    ),
    ("builds the parts, walks the stages", ["core/engine/trainer"]),
    ("the loop of one stage", ["core/engine/stage_runner"]),
    (
        "the verbs",
        ["core/engine/collecting", "core/engine/learning", "core/engine/playing", "core/engine/stage_checks"],
    ),
    (
        "the parts",
        [
            "core/engine/adjustments",
            "core/engine/building",
            "core/engine/device",
            "core/engine/early_stopping",
            "core/engine/environments",
            "core/engine/first_forward",
            "core/engine/options",
            "core/engine/progress",
            "core/engine/reporting",
            "core/engine/saving",
            "core/engine/seeding",
            "core/engine/workers",
        ],
    ),
    ("ready losses and models", ["core/losses", "core/models"]),
    (
        "the words of an experiment",
        [
            "core/__init__",
            "core/babyai_bot",
            "core/batch",
            "core/builder",
            "core/checks",
            "core/demonstrations",
            "core/description",
            "core/environment_ids",
            "core/experiment_file",
            "core/parameters",
            "core/source_files",
            "core/users_code",
            "core/distributions",
            "core/early_stopping",
            "core/experiment",
            "core/losses/loss",
            "core/metrics",
            "core/model",
            "core/pipeline",
            "core/schedules",
            "core/settings",
            "core/shares",
            "core/tree",
            "core/validation",
            "core/wrappers",
        ],
    ),
    ("what can go wrong", ["core/errors"]),
]
