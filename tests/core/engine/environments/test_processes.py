from __future__ import annotations

import os
import signal
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.toys import CountingEnv, DictEnv, ExpertEnv, MeasuringEnv, SceneEnv
from trainctl.core.engine.environments import Environments, Row, allocate, observation_layout, processes
from trainctl.core.engine.environments.processes import ProcessEnvironments
from trainctl.core.engine.environments.serial import SerialEnvironments
from trainctl.core.engine.seeding import derived_seed
from trainctl.core.errors import EnvironmentFailure
from trainctl.core.tree import flatten

SCRIPT = [(3, "truncated"), (2, "terminated"), (4, "both")]


def what_happens(environments: Environments, steps: int = 12) -> list[Any]:
    """Everything that environments show, in the order in which they do."""
    n = environments.num_envs
    observations = allocate(observation_layout(environments.observation_space), n)
    environments.reset(observations)
    seen: list[Any] = []
    for t in range(steps):
        row = Row(np.zeros(n, np.float32), np.zeros(n, bool), np.zeros(n, bool), np.ones(n, bool), observations)
        ends = environments.step((np.arange(n) + t) % 3, row)
        shown = [leaf.tolist() for leaf in (*row[:4], *flatten(observations).values())]
        seen.append((shown, [(end.environment, end.episode, str(end.final_observation)) for end in ends]))
    seen.append(environments.advance_scenes(observations))
    seen.append({name: {**own, "actions": own["actions"].tolist()} for name, own in environments.state_dict().items()})
    environments.close()
    return seen


@pytest.mark.parametrize("make", [CountingEnv, DictEnv, MeasuringEnv, SceneEnv])
@pytest.mark.parametrize(("processes", "takes_part"), [(2, False), (1, True), (2, True), (9, True)])
def test_who_steps_the_environments_changes_nothing(
    make: Callable[[Any], Any], processes: int, takes_part: bool
) -> None:
    indices = range(4, 9)
    alone = SerialEnvironments(partial(make, SCRIPT), indices, 1, "test")
    dealt = ProcessEnvironments(partial(make, SCRIPT), indices, 1, "test", processes, takes_part=takes_part)
    assert what_happens(dealt) == what_happens(alone)


def test_a_share_of_this_process_is_stepped_here_and_the_others_elsewhere() -> None:
    class Telling(CountingEnv):
        def observation(self) -> Any:
            return np.array([os.getpid()], np.float32)

    environments = ProcessEnvironments(Telling, range(5), 1, "test", 2, takes_part=True)
    observations = np.zeros((5, 1), np.float32)
    environments.reset(observations)
    here = observations[:, 0] == np.float32(os.getpid())
    assert here.tolist() == [True, True, False, False, False]
    assert len(set(observations[:, 0].tolist())) == 3
    assert environments.where == "in the training's process and in 2 child processes"
    environments.close()


class Dying(CountingEnv):
    """Ends its process at the second step of its first episode, once for each file that it can take away."""

    def __init__(self, lives: Path) -> None:
        super().__init__([(5, "terminated")])
        self.lives = lives

    def step(self, action: Any) -> Any:
        if self.steps == 1 and int(action) == 2 and any(self.lives.iterdir()):
            next(self.lives.iterdir()).unlink()
            os._exit(1)
        return super().step(action)


def test_a_child_that_dies_beside_this_process_is_replaced_and_only_the_guilty_episode_is_lost(tmp_path: Path) -> None:
    (tmp_path / "one").touch()
    environments = ProcessEnvironments(partial(Dying, tmp_path), range(6), 1, "test", 1, takes_part=True)
    observations = np.zeros((6, 1), np.float32)
    environments.reset(observations)
    for actions in ([0] * 6, [0, 0, 0, 0, 2, 0]):
        row = Row(np.zeros(6, np.float32), np.zeros(6, bool), np.zeros(6, bool), np.ones(6, bool), observations)
        ends = environments.step(np.array(actions), row)
    (end,) = ends
    assert (end.environment, end.episode) == (4, None)
    (failure,) = end.failures
    assert failure.what == "its process died with exit code 1"
    assert failure.actions.tolist() == [0, 2]
    assert row.valid.tolist() == [True, True, True, True, False, True]
    assert observations[:, 0].tolist() == [2, 2, 2, 2, 0, 2]
    environments.close()


class DyingBesideAnExpert(Dying):
    def expert_action(self) -> int:
        return 1


def test_an_expert_that_was_asked_as_a_child_died_stands_in_what_is_repeated(tmp_path: Path) -> None:
    (tmp_path / "one").touch()
    environments = ProcessEnvironments(partial(DyingBesideAnExpert, tmp_path), range(2), 1, "test", 1)
    observations, actions, available = np.zeros((2, 1), np.float32), np.zeros(2, np.int64), np.zeros(2, bool)
    environments.reset(observations)
    for taken in ([0, 0], [2, 0]):
        row = Row(np.zeros(2, np.float32), np.zeros(2, bool), np.zeros(2, bool), np.ones(2, bool), observations)
        environments.begin_step(np.array(taken))
        environments.ask_experts()
        ends = environments.end_step(row)
        environments.expert_actions(actions, available)
    (failure,) = ends[0].failures
    assert (failure.actions.tolist(), failure.asked, failure.scenes) == ([0, 2], [1, 2], 0)
    assert available.all()
    environments.close()


class DyingInScenes(SceneEnv, Dying):
    """The same, which shows its scene."""


@pytest.mark.parametrize("resumed", [False, True])
def test_after_a_child_has_died_its_environments_are_in_the_scenes_they_were_in(tmp_path: Path, resumed: bool) -> None:
    def made() -> ProcessEnvironments:
        return ProcessEnvironments(partial(DyingInScenes, tmp_path), range(2), 1, "test", 1)

    environments, observations = made(), np.zeros((2, 1), np.float32)
    environments.reset(observations)
    for _ in range(3):
        environments.advance_scenes(observations)
    if resumed:
        state = environments.state_dict()
        environments.close()
        environments = made()
        environments.load_state_dict(state, observations)
    (tmp_path / "one").touch()
    for actions in ([0, 0], [0, 2]):
        row = Row(np.zeros(2, np.float32), np.zeros(2, bool), np.zeros(2, bool), np.ones(2, bool), observations)
        environments.step(np.array(actions), row)
    assert not any(tmp_path.iterdir())
    assert (observations[:, 0] // 10_000).tolist() == [3, 3]
    environments.close()


class DyingAtReset(CountingEnv):
    """Ends its process at the reset that follows its first step, as often as there are files to take away."""

    def __init__(self, lives: Path) -> None:
        super().__init__([(1, "terminated")])
        self.lives = lives

    def reset(self, *, seed: int | None = None, options: Any = None) -> Any:
        if seed != derived_seed(1, "test", 0, 0) and any(self.lives.iterdir()):
            next(self.lives.iterdir()).unlink()
            os._exit(1)
        return super().reset(seed=seed, options=options)


@pytest.mark.parametrize("deaths", [3, 20])
def test_a_child_that_dies_again_and_again_is_replaced_so_often_and_then_given_up(tmp_path: Path, deaths: int) -> None:
    environments = ProcessEnvironments(partial(DyingAtReset, tmp_path), range(1), 1, "test", 1)
    observations = np.zeros((1, 1), np.float32)
    environments.reset(observations)
    for number in range(deaths):
        (tmp_path / str(number)).touch()
    row = Row(np.zeros(1, np.float32), np.zeros(1, bool), np.zeros(1, bool), np.ones(1, bool), observations)
    if deaths == 3:
        ends = environments.step(np.array([0]), row)
        assert [failure.episode for end in ends for failure in end.failures] == [0, 0, 0]
        assert environments.state_dict()["0"]["episode"] == 3
    else:
        with pytest.raises(EnvironmentFailure, match="failed 11 times in succession"):
            environments.step(np.array([0]), row)
    environments.close()


class DyingExpert(Dying):
    """The same when its expert is asked after the first step."""

    def step(self, action: Any) -> Any:
        return CountingEnv.step(self, action)

    def expert_action(self) -> int:
        if self.steps == 1 and any(self.lives.iterdir()):
            next(self.lives.iterdir()).unlink()
            os._exit(7)
        return 1


def test_an_expert_that_ends_its_process_costs_its_own_episode_and_one_answer_of_the_others(tmp_path: Path) -> None:
    environments = ProcessEnvironments(partial(DyingExpert, tmp_path), range(2), 1, "test", 1)
    observations, actions, available = np.zeros((2, 1), np.float32), np.zeros(2, np.int64), np.zeros(2, bool)
    environments.reset(observations)
    answered, ended = [], []
    for step in range(3):
        if step == 1:
            (tmp_path / "one").touch()
        environments.expert_actions(actions, available)
        answered.append(available.tolist())
        row = Row(np.zeros(2, np.float32), np.zeros(2, bool), np.zeros(2, bool), np.ones(2, bool), observations)
        ended.append([(end.environment, *end.failures) for end in environments.step(np.zeros(2, np.int64), row)])
    assert answered == [[True, True], [False, False], [True, True]]
    assert observations[:, 0].tolist() == [1, 3]
    ((guilty, failure),) = ended.pop(1)
    assert (guilty, failure.what, failure.asked) == (0, "its process died with exit code 7", [0, 1])
    assert ended == [[], []]
    environments.close()


class Simulated(CountingEnv):
    """Makes a file when it begins and takes it away when it is closed; then it may hang."""

    def __init__(self, folder: Path, hangs: bool) -> None:
        super().__init__()
        self.file, self.hangs = folder / str(os.getpid()), hangs

    def reset(self, *, seed: int | None = None, options: Any = None) -> Any:
        self.file.touch()
        return super().reset(seed=seed, options=options)

    def close(self) -> None:
        if self.file.exists():
            self.file.unlink()
            while self.hangs:
                signal.pause()


@pytest.mark.parametrize("hangs", [False, True])
def test_children_close_their_environments_and_one_that_hangs_there_is_ended(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, hangs: bool
) -> None:
    if hangs:
        monkeypatch.setattr(processes, "SECONDS_TO_CLOSE", 0.5)
    environments = ProcessEnvironments(partial(Simulated, tmp_path, hangs), range(2), 1, "test", 2)
    environments.reset(np.zeros((2, 1), np.float32))
    assert len(list(tmp_path.iterdir())) == 2
    environments.close()
    assert list(tmp_path.iterdir()) == []


class SlowExpert(CountingEnv):
    """Whose expert answers when somebody has made the file."""

    def __init__(self, file: Path) -> None:
        super().__init__()
        self.file = file

    def expert_action(self) -> int:
        while not self.file.exists():
            pass
        return 1


def test_experts_think_while_something_else_is_done(tmp_path: Path) -> None:
    file = tmp_path / "acted"
    environments = ProcessEnvironments(partial(SlowExpert, file), range(2), 1, "test", 2)
    environments.reset(np.zeros((2, 1), np.float32))
    environments.ask_experts()
    file.touch()  # nothing that waits for the experts would come this far
    actions, available = np.zeros(2, np.int64), np.zeros(2, bool)
    environments.expert_actions(actions, available)
    assert (actions.tolist(), available.tolist()) == ([1, 1], [True, True])
    environments.close()


def test_experts_are_asked_where_they_are() -> None:
    make = partial(ExpertEnv, lambda steps: steps if steps % 2 else None)
    environments = ProcessEnvironments(make, range(3), 1, "test", 1, takes_part=True)
    assert environments.has_expert
    observations = allocate(observation_layout(environments.observation_space), 3)
    environments.reset(observations)
    row = Row(np.zeros(3, np.float32), np.zeros(3, bool), np.zeros(3, bool), np.ones(3, bool), observations)
    environments.step(np.zeros(3, np.int64), row)
    actions, available = np.zeros(3, np.int64), np.zeros(3, bool)
    environments.expert_actions(actions, available)
    assert (actions.tolist(), available.tolist()) == ([1] * 3, [True] * 3)
    environments.close()
