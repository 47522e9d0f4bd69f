"""What saving costs: the share of its time that the CartPole run spends in saving, at its own interval.

    python benchmarks/saving_cost.py

Both are measured in one process, side by side: the stopwatch of the stage runner stands around each save.
"""

from __future__ import annotations

import json
import sys
import tempfile
from pathlib import Path

from trainctl.core.engine.launch import NoDisplay, start
from trainctl.core.engine.options import RunOptions

EXPERIMENT = Path(__file__).parent.parent / "experiments" / "cartpole_ppo.py"
PROMISED = 0.02


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        outcome = start(RunOptions(EXPERIMENT, runs_dir=Path(folder), device="cpu"), NoDisplay(), sys.argv)
        lines = [json.loads(line) for line in (outcome.run / "metrics.jsonl").read_text("utf-8").splitlines()]
        saves = len(list((outcome.run / "checkpoints").iterdir()))
        size = sum(path.stat().st_size for path in (outcome.run / "checkpoints").rglob("*.*")) // saves
    total = sum(line["wall_seconds"] for line in lines)
    # the save after an interval is closed is in the time of the next one; the very last one is in none
    saving = sum(line["wall_seconds"] * line["means"].get("speed/save", 0.0) for line in lines)
    each = saving / (saves - 1)
    share = saves * each / (total + each)
    print(f"{outcome.total_steps:,} steps in {total:.1f} s")
    print(f"{saves} checkpoints of {size:,} bytes, {1000 * each:.1f} ms each")
    print(f"saving takes {100 * share:.2f} % of the time (promised: less than {100 * PROMISED:.0f} %)")
    sys.exit(share >= PROMISED)


if __name__ == "__main__":
    main()
