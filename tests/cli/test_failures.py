from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import pytest

from tests.cli.conftest import TINY, Trainctl
from trainctl.cli.failures import failure_of, users_line
from trainctl.core.errors import CheckpointError, ExperimentError, Fault, Location
from trainctl.core.experiment_file import load_experiment


def test_every_fault_of_an_experiment_is_a_complaint() -> None:
    error = ExperimentError([Fault("gamma is 2", Location("exp.py", 3), "use less"), Fault("no stages")])
    failure = failure_of(error)
    assert failure.complaints == ["gamma is 2\n  --> exp.py:3\n  use less", "no stages"]
    assert failure.exit_code == 2


def test_an_error_of_ours_keeps_its_exit_code_its_hint_and_its_notes() -> None:
    error = CheckpointError("it is damaged", "use another")
    error.add_note("go on with: x")
    failure = failure_of(error)
    assert (failure.complaints, failure.next_steps, failure.exit_code) == (
        ["it is damaged\n  use another"],
        ["go on with: x"],
        3,
    )


def test_the_users_line_is_the_innermost_one_even_below_a_library() -> None:
    loss = load_experiment(TINY, {"breaks_at": "1"}).experiment.pipeline.named_losses["imitation"]()
    with pytest.raises(ValueError, match="went home") as raised:
        loss(SimpleNamespace(stage_steps=1), None)
    line = users_line(raised.value)
    assert line is not None
    assert Path(line.file) == TINY
    assert line.source == 'raise ValueError("the teacher went home")'


def test_where_no_line_of_the_user_ran_nobody_is_blamed() -> None:
    with pytest.raises(TypeError) as raised:
        load_experiment(3, {})  # type: ignore[arg-type]
    raised.value.__traceback__ = raised.value.__traceback__ and raised.value.__traceback__.tb_next
    failure = failure_of(raised.value)
    assert failure.exit_code == 1
    assert "no line of the experiment was running" in failure.complaints[0]


def test_what_the_users_model_raises_when_it_is_built_is_located_there(trainctl: Trainctl, tmp_path: Path) -> None:
    broken = TINY.read_text().replace("model=Builder(MLPActorCritic,", "model=Builder(Model,")
    (tmp_path / "exp.py").write_text(
        broken + "\n\ndef Model(observation_space, **_):\n    return observation_space.n + 1\n"
    )
    said = trainctl("run", "exp.py")
    assert said.code == 2
    assert "  --> exp.py:" in said.err
    assert "return observation_space.n + 1" in said.err
    assert not (tmp_path / "runs").exists()
