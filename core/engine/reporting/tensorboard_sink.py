"""TensorBoard's event files, written so that both of its readers see each series once and in order.

Its own writer is not used: it writes in a thread of its own, whose errors come late, leave half a record
behind and lose what was queued. Here a record is in the file, whole, when `write` returns.

What a resume needs (TensorBoard has two readers, and they differ):
* the file is cut back to the checkpoint, since the default reader ignores the purge step;
* each file begins with a purge step, the very first one too, since the other reader ignores the first that it sees;
* a new file sorts behind all earlier ones by its name, whatever the clock says.
"""

from __future__ import annotations

import io
import os
import re
import socket
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from ...metrics import LoggingPackage
from ..saving.growing_file import GrowingFile, cut_back, size_of

EVENT_FILE = re.compile(r"events\.out\.tfevents\.(\d+)\..*")
BINS = 64  # of a histogram
OVERVIEW = {
    "overview": {
        "return": ["Multiline", ["episode/return$", "valid/return$"]],
        "length of episodes": ["Multiline", ["episode/length$", "valid/length$"]],
        "losses": ["Multiline", ["loss/.*"]],
        "policy": ["Multiline", ["train/approx_kl$", "train/entropy$", "train/clip_fraction$"]],
        "speed": ["Multiline", ["speed/steps_per_second$"]],
    }
}


class TensorBoardSink:
    """Means as scalars over total steps, notes as text.

    * directory: of the event files of this run.
    * start_step: the total steps at which this training begins, 0 for a new run.
    * warn: told in words where a file cannot be written.
    * histograms: gives, at the end of an interval, name -> values to show the distribution of.
    """

    def __init__(
        self,
        directory: Path,
        start_step: int,
        warn: Callable[[str], None] = lambda text: None,
        histograms: Callable[[], Mapping[str, Any]] = dict,
    ) -> None:
        from torch.utils.tensorboard import summary  # slow to import

        self.directory = directory
        self.start_step = start_step
        self.histograms = histograms
        self._summary: Any = summary
        self._file = GrowingFile(directory / _next_name(directory), warn)
        self._header: bytes = _header(start_step)

    def write(self, package: LoggingPackage) -> None:
        """Each mean under its tag, and the index of the stage. Validation is shown below `valid/`."""
        if package.should_log:
            scalars = [self._summary.scalar(tag, value) for tag, value in _scalars(package)]
            self._add([*scalars, *self._histograms(package)], package.total_steps)

    def note(self, tag: str, text: str, total_steps: int) -> None:
        """A text, see TensorBoard's tab for it."""
        self._add([self._summary.text(tag, text)], total_steps)

    def image(self, tag: str, encoded: bytes, size: tuple[int, int], total_steps: int) -> None:
        """A picture as its file holds it, a GIF may move; size: width and height."""
        from tensorboard.compat.proto.summary_pb2 import Summary  # type: ignore[import-untyped]

        picture = Summary.Image(encoded_image_string=encoded, width=size[0], height=size[1], colorspace=3)
        self._add([Summary(value=[Summary.Value(tag=tag, image=picture)])], total_steps)

    def source(self, files: Mapping[str, str]) -> None:
        """The experiment as it runs, name -> text, in the tab "Text". A resumed run has it already."""
        if self.start_step == 0:
            as_code = {name: "\n".join(f"    {line}" for line in text.splitlines()) for name, text in files.items()}
            self._add([self._summary.text(f"experiment/{name}", code) for name, code in as_code.items()], 0)

    def hyperparameters(self, values: Mapping[str, Any], metrics: list[str]) -> None:
        """What this run was made with, and the tags of the metrics to compare it by. A resumed run has it already."""
        if self.start_step == 0:
            shown = {
                name: value if isinstance(value, (int, float, str)) else str(value) for name, value in values.items()
            }
            self._add(self._summary.hparams(shown, dict.fromkeys(metrics, 0)), 0)

    def overview(self) -> None:
        """The layout of the tab "Custom Scalars". A resumed run has it already."""
        if self.start_step == 0:
            self._add([self._summary.custom_scalars(OVERVIEW)], 0)

    def close(self) -> None:
        """Try once more what could not be written."""
        self._file.retry()

    def state_dict(self) -> dict[str, int]:
        """File name -> size of each event file; so much of them is on the disk by then."""
        self._file.settled_size()
        return {path.name: size_of(path) for path in _event_files(self.directory)}

    def load_state_dict(self, state: Mapping[str, int]) -> None:
        """Cut each file to its saved size. What is cut off, and files that were begun later, go to a folder beside
        `directory`, under names that no TensorBoard reads."""
        for path in _event_files(self.directory):
            if path != self._file.path:
                dropped = self.directory.with_name(f"{self.directory.name}.dropped")
                cut_back(path, state.get(path.name, 0), dropped / path.name.replace("tfevents", "dropped"))
                if path.name not in state:
                    path.unlink()

    def _histograms(self, package: LoggingPackage) -> Iterator[Any]:
        if package.kind == "train":
            for name, values in self.histograms().items():
                yield self._summary.histogram(f"parameters/{name}", values, bins=BINS)

    def _add(self, summaries: list[Any] | tuple[Any, ...], step: int) -> None:
        header, self._header = self._header, b""
        self._file.add(header + b"".join(_record(summary=summary, step=step) for summary in summaries))


def _scalars(package: LoggingPackage) -> Iterator[tuple[str, float]]:
    if package.kind == "train":
        yield from package.means.items()
        yield "pipeline/stage", package.stage_index
    else:
        yield from ((f"valid/{tag.removeprefix('valid/')}", mean) for tag, mean in package.means.items())


def _header(start_step: int) -> bytes:
    """What an event file begins with. Points at `start_step` itself belong to what the checkpoint knows."""
    from tensorboard.compat.proto.event_pb2 import SessionLog  # type: ignore[import-untyped]

    start = SessionLog(status=SessionLog.START)
    first_new_step = start_step + 1 if start_step else 0
    return _record(file_version="brain.Event:2") + _record(session_log=start, step=first_new_step)


def _record(**fields: Any) -> bytes:
    """An event as it stands in the file, with its length and its checksums."""
    from tensorboard.compat.proto.event_pb2 import Event
    from tensorboard.summary.writer.record_writer import RecordWriter  # type: ignore[import-untyped]

    buffer = io.BytesIO()
    RecordWriter(buffer).write(Event(wall_time=time.time(), **fields).SerializeToString())
    return buffer.getvalue()


def _event_files(directory: Path) -> list[Path]:
    found = directory.iterdir() if directory.is_dir() else ()
    return sorted(path for path in found if EVENT_FILE.fullmatch(path.name))


def _next_name(directory: Path) -> str:
    """The readers take the files in the order of their names, which begin with the time in seconds."""
    times = [int(match[1]) for path in _event_files(directory) if (match := EVENT_FILE.fullmatch(path.name))]
    stamp = max([int(time.time()), *(last + 1 for last in times)])
    return f"events.out.tfevents.{stamp:010d}.{socket.gethostname()}.{os.getpid()}.0"
