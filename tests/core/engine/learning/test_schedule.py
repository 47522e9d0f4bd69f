from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn, optim
from torch.optim import lr_scheduler as torch_schedulers

from trainctl.core.builder import Builder
from trainctl.core.engine.learning.learner import Learner
from trainctl.core.engine.learning.schedule import Schedule
from trainctl.core.engine.saving.checkpoint_content import decode_state, encode_state
from trainctl.core.engine.workers.workers import SingleWorker
from trainctl.core.schedules import LinearDecay

MILESTONES = [0, 1, 7, 20, 21, 50, 64, 99]


def sequential(optimizer: Any) -> torch_schedulers.SequentialLR:
    parts = [
        torch_schedulers.LinearLR(optimizer, 0.1, total_iters=20),
        torch_schedulers.CosineAnnealingLR(optimizer, T_max=50),
    ]
    return torch_schedulers.SequentialLR(optimizer, parts, milestones=[20])


def chained(optimizer: Any) -> torch_schedulers.ChainedScheduler:
    parts = [torch_schedulers.ExponentialLR(optimizer, 0.99), torch_schedulers.StepLR(optimizer, 30)]
    return torch_schedulers.ChainedScheduler(parts, optimizer=optimizer)


BUILDERS = {
    "LambdaLR": Builder(torch_schedulers.LambdaLR, {"lr_lambda": LinearDecay(80)}),
    "MultiplicativeLR": Builder(torch_schedulers.MultiplicativeLR, {"lr_lambda": lambda step: 0.99}),
    "StepLR": Builder(torch_schedulers.StepLR, {"step_size": 20}),
    "MultiStepLR": Builder(torch_schedulers.MultiStepLR, {"milestones": [21, 50, 64]}),
    "ConstantLR": Builder(torch_schedulers.ConstantLR, {"factor": 0.3, "total_iters": 21}),
    "LinearLR": Builder(torch_schedulers.LinearLR, {"start_factor": 0.2, "total_iters": 50}),
    "ExponentialLR": Builder(torch_schedulers.ExponentialLR, {"gamma": 0.97}),
    "SequentialLR": Builder(sequential),
    "PolynomialLR": Builder(torch_schedulers.PolynomialLR, {"total_iters": 64, "power": 2.0}),
    "CosineAnnealingLR": Builder(torch_schedulers.CosineAnnealingLR, {"T_max": 100, "eta_min": 1e-4}),
    "ChainedScheduler": Builder(chained),
    "CyclicLR": Builder(torch_schedulers.CyclicLR, {"base_lr": 1e-3, "max_lr": 1e-2, "step_size_up": 7}),
    "CosineAnnealingWarmRestarts": Builder(torch_schedulers.CosineAnnealingWarmRestarts, {"T_0": 9, "T_mult": 2}),
    "OneCycleLR": Builder(torch_schedulers.OneCycleLR, {"max_lr": 1e-2, "total_steps": 100}),
}

every_scheduler = pytest.mark.parametrize("name", BUILDERS)


def sgd() -> optim.SGD:
    return optim.SGD([nn.Parameter(torch.zeros(1))], lr=5e-3, momentum=0.9)


def rate(optimizer: optim.Optimizer) -> float:
    return float(optimizer.param_groups[0]["lr"])


def rates_by_stepping(make: Callable[..., Any], last: int) -> list[float]:
    """The learning rate after stepping 0, 1, …, last times, as torch does it by itself."""
    optimizer = sgd()
    scheduler = make(optimizer=optimizer)
    rates = [rate(optimizer)]
    optimizer.step()  # torch warns of a schedule that moves before its optimizer
    for _ in range(last):
        scheduler.step()
        rates.append(rate(optimizer))
    return rates


def through_a_file(state: Any) -> Any:
    return decode_state(encode_state(state), "training.pt")


def test_the_table_holds_every_scheduler_that_torch_has() -> None:
    bases = {"LRScheduler", "_LRScheduler"}
    known = {
        name
        for name, kind in vars(torch_schedulers).items()
        if isinstance(kind, type) and issubclass(kind, torch_schedulers.LRScheduler) and name not in bases
    }
    assert known == {*BUILDERS, "ReduceLROnPlateau"}


@every_scheduler
def test_the_rate_at_a_number_of_steps_is_that_of_stepping_so_often(name: str) -> None:
    expected = rates_by_stepping(BUILDERS[name], MILESTONES[-1])
    optimizer = sgd()
    schedule = Schedule(BUILDERS[name], optimizer, first_step=0)
    found = []
    for steps in MILESTONES:
        schedule.advance(steps)
        found.append(rate(optimizer))
    assert found == pytest.approx([expected[steps] for steps in MILESTONES], rel=1e-9, abs=1e-15)


@every_scheduler
def test_a_schedule_that_was_saved_goes_on_with_the_same_bits(name: str) -> None:
    optimizer, resumed = sgd(), sgd()
    schedule = Schedule(BUILDERS[name], optimizer, first_step=0)
    schedule.advance(33)
    again = Schedule(BUILDERS[name], resumed, first_step=0)
    state = through_a_file({"optimizer": optimizer.state_dict(), "schedule": schedule.state_dict()})
    resumed.load_state_dict(state["optimizer"])
    again.load_state_dict(state["schedule"])
    for steps in (33, 34, 50, 80):
        schedule.advance(steps)
        again.advance(steps)
        assert resumed.param_groups == [{**optimizer.param_groups[0], "params": resumed.param_groups[0]["params"]}]


@every_scheduler
def test_a_restarted_schedule_counts_from_its_first_step(name: str) -> None:
    optimizer = sgd()
    schedule = Schedule(BUILDERS[name], optimizer, first_step=1000)
    schedule.advance(1050)
    assert rate(optimizer) == pytest.approx(rates_by_stepping(BUILDERS[name], 50)[-1], rel=1e-9)


@pytest.mark.parametrize("anneal", ["cos", "linear"])
def test_one_cycle_that_is_over_stays_at_its_last_rate(anneal: str) -> None:
    builder = Builder(torch_schedulers.OneCycleLR, {"max_lr": 1e-2, "total_steps": 100, "anneal_strategy": anneal})
    optimizer = sgd()
    schedule = Schedule(builder, optimizer, first_step=0)
    expected = rates_by_stepping(builder, 99)[-1]
    for steps in (100, 128, 10_000):
        schedule.advance(steps)
        assert rate(optimizer) == pytest.approx(expected, rel=1e-9)


def test_without_a_scheduler_the_rate_stays_as_it_is() -> None:
    optimizer = sgd()
    schedule = Schedule(None, optimizer, first_step=0)
    schedule.advance(10_000)
    schedule.observe({"loss/total": 1.0})
    assert rate(optimizer) == 5e-3
    schedule.load_state_dict(through_a_file(schedule.state_dict()))
    assert schedule.steps == 10_000


@pytest.mark.parametrize(("mode", "tag", "worse"), [("max", "episode/return", -1.0), ("min", "loss/total", 1.0)])
def test_a_scheduler_that_watches_a_plateau_sees_each_interval_that_has_its_metric(
    mode: str, tag: str, worse: float
) -> None:
    builder = Builder(torch_schedulers.ReduceLROnPlateau, {"mode": mode, "patience": 1, "factor": 0.5})
    optimizer, resumed = sgd(), sgd()
    schedule = Schedule(builder, optimizer, first_step=0)
    for interval in range(3):  # the first is the best, the second is forgiven, the third is one too many
        schedule.advance(1000 * interval)
        schedule.observe({tag: worse * interval, "episode/length": 0.0})
        schedule.observe({"episode/length": 5.0})
        assert rate(optimizer) == (2.5e-3 if interval == 2 else 5e-3)
    again = Schedule(builder, resumed, first_step=0)
    again.load_state_dict(through_a_file(schedule.state_dict()))
    for own in (schedule, again):
        for interval in range(2):
            own.observe({tag: worse * (10 + interval)})
    assert rate(optimizer) == rate(resumed) / 2 == 1.25e-3


@pytest.mark.parametrize(
    ("scheduler", "arguments", "rates"),
    [
        (torch_schedulers.StepLR, {"step_size": 10}, [0.5, 0.05, 0.005]),
        (torch_schedulers.MultiplicativeLR, {"lr_lambda": lambda step: 0.5**0.1}, [0.5, 0.25, 0.125]),
        (torch_schedulers.LambdaLR, {"lr_lambda": LinearDecay(40)}, [0.5, 0.375, 0.25]),
    ],
)
def test_a_schedule_that_begins_again_has_the_rates_it_had_at_first(
    scheduler: Any, arguments: dict[str, Any], rates: list[float]
) -> None:
    own = Learner(
        nn.Linear(2, 1), Builder(optim.SGD, {"lr": 0.5}), Builder(scheduler, arguments), SingleWorker(), seed=1
    )

    def rates_from(first: int) -> list[float]:
        found = []
        for steps in (0, 10, 20):
            own.schedule.advance(first + steps)
            found.append(own.learning_rate)
        return found

    assert rates_from(0) == pytest.approx(rates)
    own.restart_schedule(20, 20)
    assert rates_from(20) == pytest.approx(rates)
    own.restart_optimizer()
    own.restart_schedule(20, 40)
    assert own.learning_rate == pytest.approx(rates[2])
