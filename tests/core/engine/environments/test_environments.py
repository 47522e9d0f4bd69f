from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from trainctl.core.engine.environments.environments import episode_metrics


@pytest.mark.parametrize(
    ("info", "expected"),
    [
        ({}, {}),
        ({"episode_metrics": {"distance": np.float32(2.5), "coins": 3}}, {"distance": 2.5, "coins": 3.0}),
        ({"success": True}, {"success": 1.0}),
        ({"is_success": np.bool_(False)}, {"success": 0.0}),
        ({"success": True, "is_success": False}, {"success": 1.0}),
        ({"episode_metrics": {"success": 0.5}, "success": True}, {"success": 0.5}),
        ({"other": 5}, {}),
    ],
)
def test_metrics_are_what_the_environment_names_and_success(info: dict[str, Any], expected: dict[str, float]) -> None:
    assert episode_metrics(info) == expected
