"""The run directory: everything that one training left behind, and all that is needed to go on with it."""

from __future__ import annotations

import contextlib
import errno
import json
import os
import secrets
import shutil
import socket
import tokenize
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from filelock import FileLock, Timeout

from ...errors import CheckpointError, RunInUseError, UsageError, did_you_mean
from .durable import replace_durably
from .origin import git_state, versions

if TYPE_CHECKING:
    from ..environments import Failure

RUNNING, KILLED = "running", "killed"
LOCK_PATIENCE = 0.5  # seconds; somebody who only asks whether a run is in use holds the lock for an instant


def default_name(experiment_stem: str, seed: int) -> str:
    """A name that no other run has: the experiment, the seed and six hexadecimal digits."""
    return f"{experiment_stem}-s{seed}-{secrets.token_hex(3)}"


def last_status(record: Mapping[str, Any]) -> str:
    """How the last attempt of a run went, or that it is running, as its `run.json` says; "" before the first."""
    return str(record["attempts"][-1]["status"]) if record["attempts"] else ""


class RunDirectory:
    """The files of one run, by name. Making this object touches nothing."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.run = path / "run.json"
        self.experiment = path / "experiment"
        self.pipeline = path / "pipeline.json"
        self.checkpoints = path / "checkpoints"
        self.tensorboard = path / "tensorboard"
        self.metrics = path / "metrics.jsonl"
        self.logs = path / "logs"
        self.videos = path / "videos"
        self.failures = path / "failures"
        self.nan_dump = path / "nan_dump"
        self._lock = path / "LOCK"
        self._holder = path / "LOCK.json"  # beside it: not every version of filelock leaves the text in LOCK alone

    @classmethod
    def create(
        cls, runs_dir: Path, name: str, fill: Callable[[RunDirectory], object] = lambda directory: None
    ) -> RunDirectory:
        """Make the directory of a new run; of several processes that try the same name exactly one succeeds.

        fill: writes what every run has. It is given another directory, which gets its name when it is filled: whoever
        is killed in between leaves nothing under that name.

        Raises `RunInUseError` if a training is going on in a run of this name, and `UsageError` if the name is taken,
        is no name of a directory, or cannot be written there.
        """
        if name == ".." or Path(name).name != name or not name:
            raise UsageError(f"a run cannot be called {name!r}", "give --name a name without slashes, e.g. first")
        directory = cls(runs_dir / name)
        aside = cls(runs_dir / f".{name}.new-{secrets.token_hex(4)}")
        try:
            runs_dir.mkdir(parents=True, exist_ok=True)
            if os.path.lexists(directory.path):
                raise FileExistsError
            aside.path.mkdir()
            aside._lock.touch()  # an empty directory would let itself be replaced by another process's
            fill(aside)
            os.rename(aside.path, directory.path)
        except OSError as error:
            if isinstance(error, FileExistsError) or error.errno == errno.ENOTEMPTY:
                raise _taken(directory, runs_dir) from error
            reason = error.strerror or str(error)
            raise UsageError(f"the run directory {directory.path} cannot be made: {reason}", _ELSEWHERE) from error
        finally:
            shutil.rmtree(aside.path, ignore_errors=True)  # where all went well it is gone: it has its name
        return directory

    @classmethod
    def of_checkpoint(cls, path: Path) -> RunDirectory:
        """The run that `path` is, or that it lies in: a run, its folder of checkpoints, or a checkpoint.

        Raises `CheckpointError`, with the names of the runs that are there, if it is none of these.
        """
        for candidate in (path, *list(path.parents)[:3], *list(path.absolute().parents)[:3]):
            if cls(candidate).is_run():
                return cls(candidate)
        found = "is in no run directory" if path.exists() else "does not exist"
        raise CheckpointError(f"{path} {found}", _runs_nearby(path))

    @classmethod
    def all_in(cls, folder: Path) -> list[RunDirectory]:
        """The runs of a folder, by name. What whoever was killed in `create` has left, hidden, is none."""
        found = [cls(path) for path in sorted(folder.iterdir()) if not path.name.startswith(".")]
        return [directory for directory in found if directory.is_run()]

    def is_run(self) -> bool:
        """Whether a run was begun here."""
        return self.run.is_file()

    @contextlib.contextmanager
    def lock(self) -> Iterator[None]:
        """While this lasts, no other process trains here. The kernel lets go of it however this process ends.

        Raises `RunInUseError` if another process has it, naming that process, and `UsageError` if the directory
        cannot be written.
        """
        lock = FileLock(self._lock)
        try:
            lock.acquire(timeout=LOCK_PATIENCE, poll_interval=0.02)
        except Timeout as error:
            raise RunInUseError(f"{self.path} is in use by {self._who()}", _IN_USE) from error
        except OSError as error:
            raise UsageError(f"{self._lock} cannot be written: {error.strerror}") from error
        try:
            self.write_json(self._holder, {**_here(), "since": _now()})
            yield
        finally:
            self._holder.unlink(missing_ok=True)
            lock.release()

    def is_in_use(self) -> bool:
        """Whether another process trains here at this moment."""
        lock = FileLock(self._lock)
        try:
            lock.acquire(timeout=LOCK_PATIENCE, poll_interval=0.02)
        except Timeout:
            return True
        except OSError:
            return False  # not ours to write: nobody of ours trains here
        lock.release()
        return False

    def write_json(self, path: Path, value: Any) -> None:
        """Write a file of this run; whoever reads it sees the old content or the new. Raises `UsageError`."""
        try:
            replace_durably(path, (json.dumps(value, indent=2) + "\n").encode())
        except OSError as error:
            raise UsageError(f"{path} cannot be written: {error.strerror}") from error

    def read_json(self, path: Path) -> Any:
        """What a file of this run holds. Raises `CheckpointError` if it is missing or no JSON."""
        try:
            return json.loads(path.read_bytes())
        except OSError as error:
            raise CheckpointError(f"{path} cannot be read: {error.strerror}") from error
        except (ValueError, RecursionError) as error:
            raise CheckpointError(f"{path} is damaged: it is no JSON ({error})") from error

    def sources(self) -> dict[str, str]:
        """File name -> text of the experiment as it ran."""
        files = sorted(file for file in self.experiment.rglob("*.py") if "__pycache__" not in file.parts)
        return {str(file.relative_to(self.experiment)): _source(file) for file in files}

    # run.json

    def record_run(self, source: Path = Path(), **fields: Any) -> None:
        """Begin `run.json` with these fields, the versions, and the git state of the folder `source`, if it has one."""
        self.write_json(self.run, {**fields, "versions": versions(), "git": git_state(source), "attempts": []})

    def read_run(self) -> dict[str, Any]:
        """What `run.json` holds. Raises `CheckpointError`."""
        record = self.read_json(self.run)
        if not isinstance(record, dict):
            raise CheckpointError(f"{self.run} is damaged: it holds no JSON object")
        return record

    def is_finished(self) -> bool:
        """Whether the last attempt trained this run to its end. Raises `CheckpointError`."""
        return last_status(self.read_run()) == "complete"

    def update(self, **fields: Any) -> None:
        """Set fields of `run.json`; the others stay."""
        self.write_json(self.run, {**self.read_run(), **fields})

    def begin_attempt(self, from_checkpoint: str | None, guarantee: str) -> None:
        """This process starts to train, from a checkpoint or, with None, from the beginning."""
        attempt = {"started": _now(), **_here(), "from_checkpoint": from_checkpoint, "guarantee": guarantee}
        earlier = [_not_running(one) for one in self.read_run()["attempts"]]
        self.update(attempts=[*earlier, {**attempt, "ended": None, "status": RUNNING}])

    def end_attempt(self, status: str, **fields: Any) -> None:
        """The attempt that was begun last is over. The fields are set in `run.json` itself."""
        *earlier, last = self.read_run()["attempts"]
        with contextlib.suppress(UsageError):  # a full disk must not make a failure of a training that has ended well
            self.update(**fields, attempts=[*earlier, {**last, "ended": _now(), "status": status}])

    def record_failure(self, failure: Failure, stage_index: int = 0) -> None:
        """Keep what is needed to see an environment's failure again: `trainctl replay` reads it."""
        content = {
            **failure._asdict(),
            "stage_index": stage_index,
            "actions": failure.actions.tolist(),
            "dtype": str(failure.actions.dtype),
        }
        with contextlib.suppress(OSError, UsageError):  # it is no reason to stop
            self.failures.mkdir(exist_ok=True)
            name = f"environment-{failure.environment}-episode-{failure.episode}.json"
            self.write_json(self.failures / name, content)

    def _who(self) -> str:
        try:
            holder = json.loads(self._holder.read_bytes())
            return f"pid {holder['pid']} on {holder['host']} since {holder['since']}"
        except (OSError, ValueError, KeyError, TypeError):
            return "another process"


_ELSEWHERE = "choose another place with --runs-dir"
_IN_USE = "wait for it, stop it, or start another run with another --name"


def _source(file: Path) -> str:
    with tokenize.open(file) as text:  # in whatever encoding it says it is in
        return text.read()


def _taken(directory: RunDirectory, runs_dir: Path) -> Exception:
    for place in (directory.path, runs_dir, *runs_dir.parents):
        if place.exists() and not place.is_dir():
            return UsageError(f"the run directory {directory.path} cannot be made: {place} is a file", _ELSEWHERE)
    if directory.is_in_use():
        return RunInUseError(f"{directory.path} is in use by {directory._who()}", _IN_USE)
    if not directory.is_run():
        hint = "choose another --name, or remove that directory"
        return UsageError(f"there is a directory {directory.path} already, and it is no run", hint)
    hint = f"go on with it: trainctl resume --checkpoint {directory.path}\n  start a new run: choose another --name"
    return UsageError(f"there is a run {directory.path} already", hint)


def _runs_nearby(path: Path) -> str:
    """The runs beside what was asked for, and those of the usual place."""
    folders = {folder.absolute(): folder for folder in (Path("runs"), path.parent)}.values()
    runs = [str(run.path) for folder in folders if folder.is_dir() for run in RunDirectory.all_in(folder)]
    return did_you_mean(str(path), runs)


def _not_running(attempt: dict[str, Any]) -> dict[str, Any]:
    """Only one attempt runs at a time; one that did not say how it ended was killed."""
    return {**attempt, "status": KILLED} if attempt["status"] == RUNNING else attempt


def _here() -> dict[str, Any]:
    return {"host": socket.gethostname(), "pid": os.getpid()}


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
