from __future__ import annotations

import json
import math

import pytest

from trainctl.cli.output import print_document


def test_numbers_that_are_not_finite_are_null(capsys: pytest.CaptureFixture[str]) -> None:
    print_document({"success": {"mean": math.nan, "values": (1.5, -math.inf)}, "episodes": 3, "name": "NaN"})
    found = json.loads(capsys.readouterr().out)
    assert found == {"success": {"mean": None, "values": [1.5, None]}, "episodes": 3, "name": "NaN"}
