"""Validation while it trains: it moves nothing, its numbers come out again, and the best checkpoint is kept."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from tests.end_to_end.runs import checkpoint_steps, go_on, metrics, run, weights
from trainctl import ExperimentError
from trainctl.core.engine.launch import NoDisplay, start
from trainctl.core.engine.options import Outcome, RunOptions
from trainctl.core.engine.progress import Progress
from trainctl.core.engine.saving.checkpoint import Checkpoint
from trainctl.core.engine.saving.checkpoint_choice import choose
from trainctl.core.engine.saving.from_checkpoint import evaluate_checkpoint
from trainctl.core.engine.saving.retention import retain
from trainctl.core.engine.workers.signals import StopRequest
from trainctl.core.errors import CheckpointError, UsageError

EXPERIMENT = """
import time
from pathlib import Path

import gymnasium
import torch
from trainctl import Builder, Experiment, PipelineStage, StopWhenMetricReaches, TrainingPipeline, Validation
from trainctl.losses import PPO
from trainctl.models import MLPActorCritic


class Patient(gymnasium.Wrapper):
    def __init__(self, file):
        super().__init__(gymnasium.make("CartPole-v1"))
        self.file = Path(file)

    def step(self, action):
        while self.file.exists():
            time.sleep(0.01)
        return super().step(action)


def experiment(validate: bool = True, goal: float = 500.5, metric: str = "valid/return", every: int | None = None,
               environment: str = "CartPole-v1", save: int | None = 200, num_steps: int = 50,
               waits_while: str = "") -> Experiment:
    played = Builder(Patient, {"file": waits_while}) if waits_while else environment
    goals = StopWhenMetricReaches(metric, goal) if validate else None
    return Experiment(
        environment="CartPole-v1",
        num_envs=4,
        model=Builder(MLPActorCritic, {"hidden_sizes": (16,)}),
        validation=Validation(played, 5, every, seed=9) if validate else None,
        pipeline=TrainingPipeline(
            named_losses={"ppo": Builder(PPO)},
            pipeline_stages=[
                PipelineStage(name="one", loss_names=["ppo"], max_stage_steps=400),
                PipelineStage(
                    name="two", loss_names=["ppo"], max_stage_steps=600, early_stopping_criterion=goals
                ),
            ],
            optimizer_builder=Builder(torch.optim.Adam, {"lr": 1e-2}),
            num_mini_batch=2, update_repeats=1, max_grad_norm=0.5, num_steps=num_steps, gamma=0.99, use_gae=True,
            gae_lambda=0.95, advance_scene_rollout_period=None, save_interval=save, metric_accumulate_interval=200,
        ),
    )
"""


def train(folder: Path, name: str = "first", **settings: Any) -> Outcome:
    (folder / "small.py").write_text(EXPERIMENT)
    return run(folder, name, **settings)


class StopsAt(StopRequest):
    """Asks to stop at so many steps. From 500 steps on the validation waits: there is a file that it is afraid of."""

    def __init__(self, steps: int, file: Path) -> None:
        super().__init__()
        self.steps, self.file = steps, file

    def begin(self, directory: Path, description: object, progress: Progress, message: str) -> None:
        self.progress = progress

    @property
    def requested(self) -> bool:
        if self.progress.total_steps >= 500:
            self.file.touch()
        return self.progress.total_steps >= self.steps


def stopped_at(steps: int, folder: Path, file: Path) -> Outcome:
    """A run that is stopped while the validation of 600 steps is being played."""
    request, display = StopsAt(steps, file), NoDisplay()
    display.begin = request.begin  # type: ignore[method-assign]
    settings = {"num_steps": "25", "waits_while": str(file)}
    options = RunOptions(folder / "small.py", settings, seed=1, name=f"stopped-{steps}", runs_dir=folder / "runs")
    outcome = start(options, display, [], request)
    file.unlink()
    return outcome


def validations(outcome: Outcome) -> dict[int, dict[str, float]]:
    return {line["total_steps"]: line["means"] for line in metrics(outcome) if line["kind"] == "valid"}


def test_validation_moves_no_bit_of_the_training(tmp_path: Path) -> None:
    assert weights(train(tmp_path, "with")) == weights(train(tmp_path, "without", validate=False))
    assert weights(train(tmp_path, "often", every=200)) == weights(train(tmp_path, "rarely", every=600))


def test_it_plays_at_every_checkpoint_and_evaluate_gives_its_numbers_again_exactly(tmp_path: Path) -> None:
    outcome = train(tmp_path)
    logged = validations(outcome)
    assert list(logged) == [200, 400, 600, 800, 1000]
    for step, means in logged.items():
        again = evaluate_checkpoint(choose(Path(f"{outcome.run}@step:{step}")), None, True, None, "cpu")
        assert {f"valid/{name}": found.mean for name, found in again.summaries.items()} == means
        assert again.episodes == 5


def test_played_in_this_process_the_numbers_are_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    beside = train(tmp_path, "beside")
    monkeypatch.setattr(torch.cuda, "is_initialized", lambda: True)
    here = train(tmp_path, "here")
    assert metrics(here) == metrics(beside)
    assert weights(here) == weights(beside)
    for step in checkpoint_steps(here):
        one, other = (choose(Path(f"{outcome.run}@step:{step}")) for outcome in (here, beside))
        assert Checkpoint.open(one).about["validation"] == Checkpoint.open(other).about["validation"]


@pytest.mark.parametrize(
    ("steps", "is_lost"),
    [(700, False), (800, False), (700, True)],
    ids=["between two intervals", "where the interval waits for it", "killed before that was saved"],
)
def test_stopped_while_one_is_played_it_is_played_again_and_the_end_is_the_same(
    steps: int, is_lost: bool, tmp_path: Path
) -> None:
    file = tmp_path / "wait"
    alone = train(tmp_path, "alone", num_steps=25, waits_while=file)
    assert list(validations(alone)) == [200, 400, 600, 800, 1000]
    stopped = stopped_at(steps, tmp_path, file)
    assert (stopped.status, stopped.total_steps) == ("preempted", steps)
    assert list(validations(stopped)) == [200, 400]
    assert stopped.checkpoint is not None
    if is_lost:
        stopped.checkpoint.rename(stopped.checkpoint.with_name("lost"))
    resumed = go_on(stopped.run)
    assert metrics(resumed) == metrics(alone)
    assert weights(resumed) == weights(alone)
    means = Checkpoint.open(choose(Path(f"{resumed.run}@step:600"))).about["validation"]["means"]
    assert means == validations(alone)[600]


def test_the_best_is_known_and_stays_though_it_was_not_known_when_it_was_saved(tmp_path: Path) -> None:
    (tmp_path / "small.py").write_text(EXPERIMENT)
    settings = {"num_steps": "25", "save": "100", "every": "200"}
    options = RunOptions(tmp_path / "small.py", settings, seed=1, name="kept", runs_dir=tmp_path / "runs", keep=1)
    outcome = start(options, NoDisplay(), [])
    returns = {step: means["valid/return"] for step, means in validations(outcome).items()}
    best = max(step for step, value in returns.items() if value == max(returns.values()))
    assert best not in (400, 1000)  # these end a stage, and stay anyway
    assert checkpoint_steps(outcome) == sorted([400, best, 1000])
    assert choose(Path(f"{outcome.run}@best")).name == f"step-{best:012d}"


def test_the_best_the_last_of_a_stage_and_any_step_are_addressed_by_name(tmp_path: Path) -> None:
    outcome = train(tmp_path)
    returns = {step: means["valid/return"] for step, means in validations(outcome).items()}
    best = max(step for step, value in returns.items() if value == max(returns.values()))
    for address, step in (
        ("best", best),
        ("best:length", best),
        ("stage:one", 400),
        ("stage:two", 1000),
        ("step:600", 600),
    ):
        assert choose(Path(f"{outcome.run}@{address}")).name == f"step-{step:012d}", address
    assert choose(outcome.run) == outcome.run


def test_the_best_one_stays_when_old_ones_are_deleted(tmp_path: Path) -> None:
    outcome = train(tmp_path)
    best = choose(Path(f"{outcome.run}@best"))
    retain(outcome.run / "checkpoints", keep=1)
    assert best.is_dir()
    assert {int(path.name[5:]) for path in best.parent.iterdir()} == {400, 1000, int(best.name[5:])}


def test_an_address_of_nothing_says_what_there_is(tmp_path: Path) -> None:
    outcome = train(tmp_path)
    with pytest.raises(CheckpointError, match="there are: 200, 400, 600, 800, 1_000"):
        choose(Path(f"{outcome.run}@step:700"))
    with pytest.raises(CheckpointError, match="one"):
        choose(Path(f"{outcome.run}@stage:onee"))
    with pytest.raises(CheckpointError, match="return"):
        choose(Path(f"{outcome.run}@best:retrun"))
    with pytest.raises(UsageError, match="@best"):
        choose(Path(f"{outcome.run}@worst"))


def test_a_criterion_stops_its_stage_by_the_validation_and_a_resume_decides_alike(tmp_path: Path) -> None:
    returns = [means["valid/return"] for means in validations(train(tmp_path, "free")).values()]
    goal = returns[2]  # at 600 steps, the first validation of the second stage, shown with the interval up to 800
    outcome = train(tmp_path, "stopped", goal=goal)
    assert outcome.total_steps == 800
    again = train(tmp_path, "again", goal=goal)
    for later in (again.run / "checkpoints").glob("step-000000000800"):
        later.rename(later.with_name("gone"))
    resumed = go_on(again.run)
    assert (resumed.total_steps, weights(resumed)) == (800, weights(outcome))
    assert metrics(resumed) == metrics(outcome)


def test_with_every_it_has_its_own_rhythm_and_each_stages_end(tmp_path: Path) -> None:
    assert list(validations(train(tmp_path, every=300, save=-1))) == [400, 800, 1000]
    assert list(validations(train(tmp_path, "never", save="none"))) == []


def test_it_has_the_time_of_a_whole_interval_but_never_longer_than_to_the_next_one(tmp_path: Path) -> None:
    outcome = train(tmp_path, every=300, save=-1, num_steps=25)
    assert [(line["kind"], line["total_steps"]) for line in metrics(outcome)] == [
        ("train", 200),
        ("train", 400),
        ("valid", 300),  # before the next one begins, at the stage's end
        ("valid", 400),
        ("train", 600),
        ("train", 800),
        ("valid", 700),  # it had all of the interval from 800 to 1000
        ("train", 1000),
        ("valid", 1000),
    ]


def test_a_criterion_on_validation_without_any_is_refused(tmp_path: Path) -> None:
    (tmp_path / "small.py").write_text(EXPERIMENT.replace(" if validate else None\n    return", "\n    return"))
    with pytest.raises(ExperimentError, match="waits for 'valid/return', but the experiment has no validation"):
        run(tmp_path, "first", validate=False)


def test_a_misspelt_metric_of_validation_is_refused_when_it_could_be_known(tmp_path: Path) -> None:
    with pytest.raises(ExperimentError, match="valid/retrun") as refused:
        train(tmp_path, metric="valid/retrun")
    assert "valid/return" in str(refused.value)


def test_environments_that_do_not_fit_the_model_are_refused_before_the_first_step(tmp_path: Path) -> None:
    with pytest.raises(ExperimentError, match="the validation environments have the observation_space"):
        train(tmp_path, environment="Acrobot-v1")
    assert not (tmp_path / "runs").exists()
