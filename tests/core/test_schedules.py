from __future__ import annotations

import copy
import io
import pickle
from collections.abc import Callable
from dataclasses import FrozenInstanceError
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from trainctl.core.errors import ExperimentError
from trainctl.core.schedules import LinearDecay, MultiLinearDecay

THREE_STAGES = MultiLinearDecay([LinearDecay(10, 1.0, 0.5), LinearDecay(20, 0.25, 0.75), LinearDecay(5, 0.5, 0.0)])
SCHEDULES = [LinearDecay(10), THREE_STAGES]

values = st.floats(-1e6, 1e6)
decays = st.builds(LinearDecay, st.integers(0, 10**9), values, values)


def test_a_linear_decay_goes_from_its_start_to_its_end() -> None:
    decay = LinearDecay(100)
    assert [decay(0), decay(25), decay(50), decay(100)] == [1.0, 0.75, 0.5, 0.0]


def test_a_linear_decay_may_rise() -> None:
    assert LinearDecay(4, startp=1.0, endp=3.0)(1) == 1.5


def test_steps_outside_give_the_nearer_end() -> None:
    decay = LinearDecay(10, 0.8, 0.2)
    assert (decay(-5), decay(11), decay(10**12)) == (0.8, 0.2, 0.2)
    assert LinearDecay(0, 0.8, 0.2)(-5) == 0.2


def test_zero_steps_give_the_end_at_once() -> None:
    assert LinearDecay(0, 1.0, 0.25)(0) == 0.25


@given(decay=decays, epoch=st.integers(-10, 2 * 10**9))
def test_a_linear_decay_stays_between_its_ends(decay: LinearDecay, epoch: int) -> None:
    assert min(decay.startp, decay.endp) <= decay(epoch) <= max(decay.startp, decay.endp)


@given(decay=decays, epochs=st.tuples(st.integers(0, 10**9), st.integers(0, 10**9)))
def test_a_linear_decay_never_turns_round(decay: LinearDecay, epochs: tuple[int, int]) -> None:
    direction = 1 if decay.endp >= decay.startp else -1
    earlier, later = sorted(epochs)
    assert direction * decay(earlier) <= direction * decay(later)


@given(value=values, epoch=st.integers(-5, 2_000))
def test_equal_ends_give_exactly_that_constant(value: float, epoch: int) -> None:
    assert LinearDecay(1_000, value, value)(epoch) == value


def test_each_stage_is_asked_with_the_steps_since_it_began() -> None:
    assert [THREE_STAGES(epoch) for epoch in (0, 5, 20, 31)] == [1.0, 0.75, 0.5, 0.4]


def test_at_a_boundary_the_next_start_counts() -> None:
    assert [THREE_STAGES(epoch) for epoch in (10, 30)] == [0.25, 0.5]


def test_before_the_first_and_after_the_last_stage_the_ends_stay() -> None:
    assert (THREE_STAGES(-3), THREE_STAGES(35), THREE_STAGES(10**9)) == (1.0, 0.0, 0.0)


def test_an_earlier_step_after_a_later_one_gives_the_earlier_value() -> None:
    assert [THREE_STAGES(epoch) for epoch in (5, 25, 5)] == [0.75, 0.625, 0.75]


def test_stages_without_steps_take_no_room() -> None:
    jump = LinearDecay(0, 9.0, 9.0)
    assert [MultiLinearDecay([jump, LinearDecay(10)])(epoch) for epoch in (-1, 0)] == [1.0, 1.0]
    assert MultiLinearDecay([LinearDecay(10), jump, LinearDecay(10)])(10) == 1.0
    assert MultiLinearDecay([LinearDecay(10), jump])(10) == 9.0


@given(stages=st.lists(decays, min_size=1, max_size=4), epoch=st.integers(0, 10**9))
def test_one_more_stage_changes_nothing_before_it(stages: list[LinearDecay], epoch: int) -> None:
    alone, followed = MultiLinearDecay(stages), MultiLinearDecay([*stages, LinearDecay(7)])
    if epoch < alone.steps:
        assert followed(epoch) == alone(epoch)
    else:
        assert followed(epoch) == LinearDecay(7)(epoch - alone.steps)


def test_the_steps_of_several_stages_add_up() -> None:
    assert THREE_STAGES.steps == 35


def test_schedules_are_equal_when_their_values_are() -> None:
    assert LinearDecay(10) == LinearDecay(10, 1.0, 0.0) != LinearDecay(11)
    assert MultiLinearDecay([LinearDecay(10)]) == MultiLinearDecay((LinearDecay(10),))
    assert len({LinearDecay(10), LinearDecay(10), MultiLinearDecay([LinearDecay(10)])}) == 2


def test_a_schedule_reads_like_the_code_that_makes_it() -> None:
    assert repr(LinearDecay(10)) == "LinearDecay(steps=10, startp=1.0, endp=0.0)"
    assert repr(MultiLinearDecay([LinearDecay(3)])) == f"MultiLinearDecay(stages=({LinearDecay(3)},))"


@pytest.mark.parametrize("schedule", SCHEDULES)
@pytest.mark.parametrize("twin", [copy.copy, copy.deepcopy, lambda schedule: pickle.loads(pickle.dumps(schedule))])
def test_a_schedule_survives_pickle_and_copy(schedule: Any, twin: Callable[[Any], Any]) -> None:
    assert twin(schedule) == schedule


def test_a_schedule_cannot_be_changed() -> None:
    decay: Any = LinearDecay(10)
    with pytest.raises(FrozenInstanceError):
        decay.steps = 20
    stages = [LinearDecay(10)]
    schedule = MultiLinearDecay(stages)
    stages.append(LinearDecay(5))
    assert schedule.steps == 10


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"steps": -1}, "steps of a LinearDecay must be 0 or more; found -1"),
        ({"steps": None}, "steps of a LinearDecay must be an integer; found None"),
        ({"steps": 1, "startp": float("nan")}, "startp of a LinearDecay must be a finite number; found nan"),
        ({"steps": 1, "endp": float("inf")}, "endp of a LinearDecay must be a finite number; found inf"),
        ({"steps": 1, "endp": "0"}, "endp of a LinearDecay must be a finite number; found '0'"),
    ],
)
def test_a_linear_decay_refuses_values_without_meaning(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(ExperimentError) as refused:
        LinearDecay(**arguments)
    assert message in str(refused.value)


def test_all_faults_of_a_linear_decay_are_named_at_once_with_the_line_that_wrote_it() -> None:
    with pytest.raises(ExperimentError) as refused:
        LinearDecay(-7, startp=float("nan"))
    assert [fault.message.split(" of ")[0] for fault in refused.value.faults] == ["steps", "startp"]
    assert str(refused.value).count("LinearDecay(-7, startp=") == 2


def test_steps_that_are_no_integer_are_refused_with_the_way_out() -> None:
    with pytest.raises(ExperimentError, match=r"Write int\(1000000\.0\)"):
        LinearDecay(1e6)  # type: ignore[arg-type]


@pytest.mark.parametrize("stages", [[], (), LinearDecay(10), None])
def test_several_decays_need_a_list_of_at_least_one(stages: Any) -> None:
    with pytest.raises(ExperimentError, match="must be a list of LinearDecay"):
        MultiLinearDecay(stages)


def test_stages_of_another_kind_are_refused_by_their_place() -> None:
    with pytest.raises(ExperimentError, match=r"stages\[1\] of a MultiLinearDecay must be a LinearDecay; found 0\.5"):
        MultiLinearDecay([LinearDecay(10), 0.5])  # type: ignore[list-item]


def learning_rates(schedule: Callable[[int], float]) -> torch.optim.lr_scheduler.LambdaLR:
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=8.0)
    return torch.optim.lr_scheduler.LambdaLR(optimizer, schedule)


def advance(scheduler: torch.optim.lr_scheduler.LambdaLR, steps: int) -> float:
    for _ in range(steps):
        scheduler.optimizer.step()
        scheduler.step()
    return float(scheduler.get_last_lr()[0])


@pytest.mark.parametrize("schedule", SCHEDULES)
def test_a_lambda_lr_with_a_schedule_goes_through_a_weights_only_checkpoint(schedule: Callable[[int], float]) -> None:
    scheduler = learning_rates(schedule)
    advance(scheduler, 5)
    checkpoint = io.BytesIO()
    torch.save(scheduler.state_dict(), checkpoint)
    checkpoint.seek(0)

    resumed = learning_rates(schedule)
    resumed.load_state_dict(torch.load(checkpoint, weights_only=True))

    assert resumed.last_epoch == 5
    assert advance(resumed, 3) == advance(scheduler, 3) == 8.0 * schedule(8)


def test_loading_a_checkpoint_changes_no_schedule() -> None:
    state = learning_rates(LinearDecay(10)).state_dict()
    state["lr_lambdas"] = [{"steps": 99}]
    decay = LinearDecay(20)
    learning_rates(decay).load_state_dict(state)
    assert decay == LinearDecay(20)
    assert decay(10) == 0.5
