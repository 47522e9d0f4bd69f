from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from tests.end_to_end.runs import EXPERIMENT

TRAIN = """
import sys
from pathlib import Path
from trainctl.core.engine.launch import NoDisplay, start
from trainctl.core.engine.options import RunOptions
outcome = start(RunOptions(Path(sys.argv[1]), {"steps": "200"}, runs_dir=Path(sys.argv[2])), NoDisplay(), ["test"])
print(outcome.status, [name for name in ("torch._dynamo", "sympy", "numba") if name in sys.modules])
"""


def test_a_training_does_not_wait_for_compilers_that_it_does_not_use(tmp_path: Path) -> None:
    (tmp_path / "small.py").write_text(EXPERIMENT)
    command = [sys.executable, "-c", TRAIN, str(tmp_path / "small.py"), str(tmp_path / "runs")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert done.stdout.splitlines()[-1:] == ["complete []"], done.stderr
