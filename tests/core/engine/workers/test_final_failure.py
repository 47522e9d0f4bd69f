from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import pytest

from trainctl.core.engine.workers.final_failure import FailedBefore, refuse_to_repeat_a_failure
from trainctl.core.engine.workers.first_error import FirstError, errors_in, first_error, write_error
from trainctl.core.errors import NonFiniteError, WorkerLostError


@pytest.fixture
def logs(tmp_path: Path) -> Path:
    """The folder of a launch of two workers."""
    for attempt in (0, 1):
        for rank in (0, 1):
            (tmp_path / f"attempt_{attempt}" / str(rank)).mkdir(parents=True)
    return tmp_path


def be(worker: int, attempt: int, logs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """From now on this process is that worker."""
    monkeypatch.setenv("RANK", str(worker))
    monkeypatch.setenv("TORCHELASTIC_ERROR_FILE", str(logs / f"attempt_{attempt}" / str(worker) / "error.json"))
    monkeypatch.setenv("TORCHELASTIC_RESTART_COUNT", str(attempt))


def fail(worker: int, error: Exception, logs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    be(worker, 0, logs, monkeypatch)
    refuse_to_repeat_a_failure()
    write_error(error, f"exp.py:7: {error}")


@pytest.mark.parametrize("worker", [0, 1])
def test_a_final_failure_is_not_repeated_and_stays_that_of_the_worker_that_had_it(
    worker: int, logs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fail(0, WorkerLostError("another worker has ended"), logs, monkeypatch)
    fail(1, NonFiniteError("the loss is nan"), logs, monkeypatch)
    be(worker, 1, logs, monkeypatch)
    with pytest.raises(FailedBefore, match=r"exp\.py:7: the loss is nan") as caught:
        refuse_to_repeat_a_failure()
    assert caught.value.exit_code == 6
    write_error(caught.value, "said again")
    end = SimpleNamespace(exitcode=6, timestamp=100, error_file_data=errors_in(logs / "attempt_1")[0])
    assert first_error({worker: end}) == FirstError(1, 6, "exp.py:7: the loss is nan")


def test_what_may_go_well_the_next_time_is_tried_again(logs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fail(0, WorkerLostError("another worker has ended"), logs, monkeypatch)
    fail(1, ValueError("no door"), logs, monkeypatch)
    for worker in (0, 1):
        be(worker, 1, logs, monkeypatch)
        refuse_to_repeat_a_failure()
