from __future__ import annotations

from typing import Any

import gymnasium
import numpy as np
import pytest
import torch
from gymnasium import spaces
from gymnasium.vector import VectorEnv

from tests.toys import CountingEnv
from trainctl.core.engine.environments import Row
from trainctl.core.engine.environments.build import build_environments
from trainctl.core.engine.environments.first_look import first_reset, first_step, look_at_spaces
from trainctl.core.engine.environments.vector import VectorEnvironments
from trainctl.core.errors import ExperimentError

SEEN = np.zeros(1, np.float32)


class Answering(CountingEnv):
    """Answers with what it was given."""

    def __init__(self, reset: Any = (SEEN, {}), step: Any = (SEEN, 1.0, False, False, {}), **own: Any) -> None:
        super().__init__()
        self.answers = (reset, step)
        for name, value in own.items():
            setattr(self, name, value)

    def reset(self, **_: Any) -> Any:
        return self.answers[0]

    def step(self, action: Any) -> Any:
        return self.answers[1]


class WithoutSeed(CountingEnv):
    def reset(self) -> Any:  # type: ignore[override]
        return SEEN, {}


class Doubling(gymnasium.ObservationWrapper[Any, Any, Any]):
    """Shows two numbers, but keeps the space of one."""

    def observation(self, observation: Any) -> Any:
        return np.repeat(observation, 2)


class WithoutSpaces(gymnasium.Env[Any, Any]):
    """Says nothing of its spaces."""


PARTS = spaces.Dict(image=spaces.Box(0, 255, (2, 2), np.uint8), goal=spaces.Discrete(3))
IMAGE = np.zeros((2, 2), np.uint8)


@pytest.mark.parametrize(
    ("env", "complaint"),
    [
        (Answering(reset=SEEN), "reset() of <Answering instance> gave float32 (1,)"),
        (Answering(reset=(SEEN, None)), "gave (float32 (1,), None)"),
        (Answering(reset=(None, {})), "the observation is None, not float32 (1,)"),
        (Answering(reset=(np.zeros(3), {})), "the observation is float64 (3,), not float32 (1,)"),
        (Answering(reset=(np.zeros((1, 1)), {})), "the observation is float64 (1, 1), not float32 (1,)"),
        (Answering(reset=([[1], [1, 2]], {})), "the observation is ((1), (1, 2)), not float32 (1,)"),
        (Answering(reset=({"goal": 1}, {})), "the observation is {goal: 1}, not float32 (1,)"),
        (Answering(reset=(SEEN, {}), observation_space=PARTS), "not a dictionary of image, goal"),
        (Answering(reset=({"goal": 1}, {}), observation_space=PARTS), "the observation has no 'image'"),
        (
            Answering(reset=({"goal": 1, "image": IMAGE / 255}, {}), observation_space=PARTS),
            "the observation['image'] is float64 (2, 2), not uint8 (2, 2)",
        ),
        (WithoutSeed(), "reset() of <WithoutSeed instance> takes no seed"),
        (gymnasium.wrappers.TimeLimit(WithoutSeed(), 5), "reset() of <WithoutSeed instance> takes no seed"),
    ],
)
def test_a_wrong_reset_is_named_where_it_is_written(env: Any, complaint: str) -> None:
    with pytest.raises(ExperimentError) as caught:
        first_reset(env, 0)
    fault = caught.value.faults[0]
    assert complaint in fault.message
    assert fault.location is not None
    assert fault.location.file == __file__
    assert fault.hint


@pytest.mark.parametrize(
    ("answer", "complaint"),
    [
        ((SEEN, 1.0, False, {}), "step() of <Answering instance> gave (float32 (1,), 1.0, False, {})"),
        ((SEEN, 1.0, False, False, None), "gave (float32 (1,), 1.0, False, False, None)"),
        ((np.zeros(3), 1.0, False, False, {}), "the observation is float64 (3,), not float32 (1,)"),
        ((SEEN, None, False, False, {}), "gave None as reward"),
        ((SEEN, np.zeros(2), False, False, {}), "gave float64 (2,) as reward"),
        ((SEEN, 1.0, "no", False, {}), "gave 'no' as terminated"),
        ((SEEN, 1.0, False, {"time": 3}, {}), "gave {time: 3} as truncated"),
    ],
)
def test_a_wrong_step_is_named_where_it_is_written(answer: Any, complaint: str) -> None:
    with pytest.raises(ExperimentError) as caught:
        first_step(Answering(step=answer), 0)
    assert complaint in caught.value.message
    assert caught.value.faults[0].location is not None


def test_the_old_api_is_told_what_took_the_place_of_done() -> None:
    with pytest.raises(ExperimentError, match="`done` is terminated where the episode is over"):
        first_step(Answering(step=(SEEN, 1.0, False, {})), 0)


def test_an_environment_needs_both_spaces() -> None:
    with pytest.raises(ExperimentError, match="has no observation_space"):
        look_at_spaces(WithoutSpaces())
    with pytest.raises(ExperimentError, match="has 3, which is no gymnasium"):
        look_at_spaces(Answering(action_space=3))


@pytest.mark.parametrize(
    "answer", [(SEEN, 1, False, True, {}), ([0], np.float64(1), np.bool_(0), 0, {}), (np.array([7]), True, 1, 0, {})]
)
def test_numbers_of_any_kind_will_do(answer: Any) -> None:
    assert first_step(Answering(step=answer), 0) is answer


def test_of_wrapped_environments_all_layers_are_named() -> None:
    with pytest.raises(
        ExperimentError, match="of <Doubling<CountingEnv instance>> gave an observation outside its space"
    ):
        first_reset(Doubling(CountingEnv()), 0)


@pytest.mark.parametrize("processes", [0, 1])
def test_what_is_written_wrongly_ends_the_training_at_once(processes: int) -> None:
    environments = build_environments(
        lambda: Answering(step=(SEEN, None, False, False, {})), [0], 0, "environment", processes
    )
    observations = np.zeros((1, 1), np.float32)
    row = Row(np.zeros(1, np.float32), np.zeros(1, bool), np.zeros(1, bool), np.ones(1, bool), observations)
    try:
        environments.reset(observations)
        with pytest.raises(ExperimentError, match="gave None as reward"):
            environments.step(np.zeros(1, np.int64), row)
    finally:
        environments.close()


SEEN_BY_TWO = np.zeros((2, 1), np.float32)


class AnsweringMany(VectorEnv):
    """Two environments in one, which answer with what they were given."""

    num_envs = 2
    single_observation_space = spaces.Box(-1, 1, (1,))
    single_action_space = spaces.Discrete(2)

    def __init__(self, seen: Any = SEEN_BY_TWO, rewards: Any = SEEN_BY_TWO[:, 0], flags: Any = (False, False)) -> None:
        self.answer = (seen, rewards, flags, flags, {})

    def reset(self, **_: Any) -> Any:
        return SEEN_BY_TWO, {}

    def step(self, actions: Any) -> Any:
        return self.answer


@pytest.mark.parametrize(
    ("env", "complaint"),
    [
        (AnsweringMany(seen=SEEN), "the observation is float32 (1,), not float32 (2, 1)"),
        (AnsweringMany(rewards=np.zeros((2, 1))), "gave float64 (2, 1) as reward"),
        (AnsweringMany(rewards=0.5), "gave 0.5 as reward"),
        (AnsweringMany(flags=np.zeros(3, bool)), "gave bool (3,) as terminated"),
    ],
)
def test_so_is_a_wrong_step_of_many_environments_in_one(env: VectorEnv, complaint: str) -> None:
    environments = VectorEnvironments(env, first_index=0, seed=0)
    seen = np.zeros((2, 1), np.float32)
    environments.reset(seen)
    row = Row(np.zeros(2, np.float32), np.zeros(2, bool), np.zeros(2, bool), np.ones(2, bool), seen)
    with pytest.raises(ExperimentError) as caught:
        environments.step(np.zeros(2, np.int64), row)
    (fault,) = caught.value.faults
    assert complaint in fault.message
    assert fault.location is not None


def test_many_environments_in_one_may_give_tensors() -> None:
    env = AnsweringMany(torch.zeros(2, 1), torch.ones(2), torch.zeros(2, dtype=torch.bool))
    look_at_spaces(env)
    assert first_step(env, None) is env.answer


def test_many_environments_in_one_without_a_space_of_each_are_refused() -> None:
    env = AnsweringMany()
    env.single_action_space = None  # type: ignore[assignment]
    with pytest.raises(ExperimentError, match="has no single_action_space"):
        VectorEnvironments(env, first_index=0, seed=0)
