"""The pictures of the documents, made anew from real trainings: `make pictures` (needs tmux and Chromium; minutes).

    python docs/pictures.py [console] [pages] [plot]

The trainings stay in `runs/pictures`; seeds and trials that are there are not trained again.
"""

from __future__ import annotations

import json
import re
import shlex
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from io import BytesIO, StringIO
from pathlib import Path

from PIL import Image
from rich.console import Console
from rich.terminal_theme import MONOKAI
from rich.text import Text

ROOT = Path(__file__).resolve().parents[1]
IMAGES = ROOT / "docs" / "images"
HERE = ROOT / "runs" / "pictures"
"""Where the commands are typed: what the pictures show are paths in this folder."""
TRAINCTL = [sys.executable, "-m", "trainctl"]
TMUX = ["tmux", "-L", "trainctl-pictures", "-f", "/dev/null"]


def trainctl(*words: object) -> None:
    """A command that ends well."""
    subprocess.run([*TRAINCTL, *map(str, words)], cwd=HERE, check=True)


# The console: a real terminal is shown the run, and what it shows is drawn


def console(columns: int = 110, rows: int = 24) -> None:
    """The live display in the middle of a curriculum, as SVG."""
    shutil.rmtree(HERE / "runs" / "curriculum", ignore_errors=True)
    command = ["run", "experiments/doorkey_curriculum.py", "--seed", "2", "--name", "curriculum"]
    typed = f"{shlex.join([*TRAINCTL, *command])}; sleep 3600"
    size = ["-x", str(columns), "-y", str(rows)]
    subprocess.run([*TMUX, "new-session", "-d", *size, "-c", str(HERE), typed], check=True)
    try:
        wait_for("stage 2 begins")
        time.sleep(5)
        shown = screen()
        wait_for("complete: ")
    finally:
        subprocess.run([*TMUX, "kill-server"], check=True)
    recorded = Console(record=True, width=columns, file=StringIO(), force_terminal=True, color_system="truecolor")
    recorded.print(Text.from_ansi(f"$ trainctl {shlex.join(command)}\n{shown}"))
    drawn = recorded.export_svg(title="trainctl", theme=MONOKAI)
    (IMAGES / "console.svg").write_text(
        re.sub(r"@font-face \{.*?\}", "", drawn, flags=re.DOTALL)
    )  # nothing from the net


def screen() -> str:
    """What the terminal shows, with its colours."""
    return subprocess.check_output([*TMUX, "capture-pane", "-p", "-e"], text=True).rstrip()


def wait_for(text: str) -> None:
    """Until the terminal shows it."""
    while text not in screen():
        time.sleep(0.5)


# TensorBoard: three pages in a browser without a screen


def pages() -> None:
    """A finished, a resumed and a swept run."""
    shutil.rmtree(HERE / "runs" / "finished", ignore_errors=True)
    trainctl("run", "experiments/cartpole_ppo.py", "--name", "finished", "--quiet")
    resumed_run()
    trainctl(
        *("sweep", "experiments/cartpole_ppo.py", "learning_rate=1e-4..1e-2:log", "num_envs=4,8,16", "--trials", 8),
        *("--jobs", 2, "--set", "steps=30_000", "--name", "swept"),
    )
    with tensorboard("runs/finished") as address:
        screenshot(f"{address}/#custom_scalars&_smoothingWeight=0", "tensorboard-finished.png")
    with tensorboard("runs/resumed") as address:
        screenshot(f"{address}/#scalars&_smoothingWeight=0&tagFilter=episode", "tensorboard-resumed.png")
    with tensorboard("runs/swept") as address:
        screenshot(f"{address}/#hparams", "tensorboard-swept.png")


def resumed_run() -> None:
    """CartPole, stopped twice (as a cluster would) and submitted again."""
    shutil.rmtree(HERE / "runs" / "resumed", ignore_errors=True)
    words = ["run", "experiments/cartpole_ppo.py", "--name", "resumed", "--quiet"]
    for at in (40_000, 110_000):
        process = subprocess.Popen([*TRAINCTL, *words], cwd=HERE)
        while steps_of(HERE / "runs" / "resumed") < at and process.poll() is None:
            time.sleep(0.2)
        process.terminate()
        process.wait()
    trainctl(*words)


def steps_of(run: Path) -> int:
    """Total steps of the last closed interval."""
    lines = (run / "metrics.jsonl").read_text().splitlines() if (run / "metrics.jsonl").exists() else []
    return int(json.loads(lines[-1])["total_steps"]) if lines else 0


@contextmanager
def tensorboard(logdir: str) -> Iterator[str]:
    """The address of a TensorBoard that has read the folder."""
    options = ["--logdir", logdir, "--port", "0", "--host", "127.0.0.1", "--load_fast=false"]
    command = [sys.executable, "-m", "tensorboard.main", *options]
    with subprocess.Popen(command, cwd=HERE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        yield next(match[0] for line in process.stderr if (match := re.search(r"http://127\.0\.0\.1:\d+", line)))
        process.terminate()


def screenshot(address: str, name: str, size: tuple[int, int] = (1440, 800)) -> None:
    """The page as a PNG of few colours."""
    browser = shutil.which("chromium") or shutil.which("chromium-browser") or "google-chrome"
    file = IMAGES / name
    flags = ["--headless=new", "--no-sandbox", "--hide-scrollbars", "--disable-gpu", "--virtual-time-budget=30000"]
    where = [f"--window-size={size[0]},{size[1]}", f"--screenshot={file}", address]
    subprocess.run([browser, *flags, *where], check=True, stderr=subprocess.DEVNULL)
    make_small(file)


def make_small(file: Path) -> None:
    """64 colours are enough for curves and letters."""
    packed = BytesIO()
    Image.open(file).convert("RGB").quantize(64).save(packed, "PNG", optimize=True)
    file.write_bytes(packed.getvalue())


def plot() -> None:
    """Two learning rates, three seeds each."""
    for name, rate in (("slow", "2e-4"), ("fast", "2e-3")):
        words = ["--seeds", "0-2", "--jobs", 2, "--set", "steps=60_000", "--set", f"learning_rate={rate}"]
        trainctl("run", "experiments/cartpole_ppo.py", "--name", name, *words)
    runs = [f"runs/{name}-s{seed}" for name in ("slow", "fast") for seed in range(3)]
    trainctl("compare", *runs, "--plot", IMAGES / "compare.png")
    make_small(IMAGES / "compare.png")


if __name__ == "__main__":
    HERE.mkdir(parents=True, exist_ok=True)
    if not (HERE / "experiments").exists():
        (HERE / "experiments").symlink_to(ROOT / "experiments")
    for part in sys.argv[1:] or ("console", "pages", "plot"):
        {"console": console, "pages": pages, "plot": plot}[part]()
