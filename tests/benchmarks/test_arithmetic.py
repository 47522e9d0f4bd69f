"""The arithmetic of benchmarks/growth.py, run.py and gpu.py."""

from __future__ import annotations

import importlib
import json
import math
import subprocess
from pathlib import Path
from typing import Any

import pytest
import torch

FOLDER = Path(__file__).parents[2] / "benchmarks"


def script(name: str, monkeypatch: pytest.MonkeyPatch) -> Any:
    """A script of benchmarks/, which finds its neighbours as when it is started."""
    monkeypatch.syspath_prepend(str(FOLDER))
    return importlib.import_module(f"benchmarks.{name}")


def test_a_slope_is_for_a_million_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    growth = script("growth", monkeypatch)
    assert growth.slope([0, 500_000, 1_000_000], [7.0, 8.0, 9.0]) == pytest.approx(2.0)


def test_growth_of_memory_is_for_each_byte_that_the_rollout_grew(monkeypatch: pytest.MonkeyPatch) -> None:
    growth = script("growth", monkeypatch)
    sizes = [(64, 10, 500), (128, 20, 510), (256, 40, 570)]
    found = [{"num_steps": steps, "rollout": rollout, "peak": peak} for steps, rollout, peak in sizes]
    assert [cells[-1] for cells in growth.memory_rows(found)] == ["", "1.00", "3.00"]


def test_the_steady_speed_leaves_out_what_began_while_a_stage_was_warming_up(monkeypatch: pytest.MonkeyPatch) -> None:
    run = script("run", monkeypatch)
    closed = [
        (0, 1000, 1000, 50.0),
        (0, 2000, 2000, 1.0),
        (1, 500, 2500, 9.0),
        (1, 1500, 3500, 9.0),
        (1, 4500, 6500, 3.0),
    ]
    names = ("stage_index", "stage_steps", "total_steps", "wall_seconds")
    intervals = [dict(zip(names, one, strict=True)) for one in closed]
    assert run.steady_speed(intervals, warm=1000) == pytest.approx((1000 + 3000) / (1.0 + 3.0))


def test_on_a_gpu_what_fails_or_is_not_reached_is_left_out_and_other_rows_stay(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    gpu = script("gpu", monkeypatch)
    monkeypatch.setattr(gpu, "HERE", tmp_path)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda: "a GPU")
    older = {"pong-64": {"title": "Pong", "when": "then", "speeds": {"trainctl": [7.0]}, "floors": []}}
    (tmp_path / "gpu.json").write_text(json.dumps(older))

    def fails(seed: int, limit: float) -> float:
        raise SystemExit("it broke")

    def hangs(seed: int, limit: float) -> float:
        raise subprocess.TimeoutExpired("it", limit)

    programs = {"trainctl": lambda seed, limit: 1000.0 * seed, "trainctl --compile": fails, "sb3": hangs}
    monkeypatch.setattr(gpu, "programs_for", lambda name: {**programs, "cleanrl": lambda seed, limit: 100.0})
    text = gpu.measure_all(["cartpole-64"], 2, deadline=math.inf, tests="pass")
    known = json.loads((tmp_path / "gpu.json").read_text())
    assert known["cartpole-64"]["speeds"] == {"trainctl": [1000.0, 2000.0], "cleanrl": [100.0, 100.0]}
    assert known["pong-64"] == older["pong-64"]
    assert "15.00 / – / – / –" in text
    gpu.measure_all(["pong-64"], 1, deadline=0.0, tests="pass")
    assert json.loads((tmp_path / "gpu.json").read_text()) == known
