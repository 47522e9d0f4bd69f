from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import gymnasium
import numpy as np
import pytest
import torch
from gymnasium.vector import AutoresetMode, SyncVectorEnv
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from tests.oracles import Step, advantages_of, returns_of, walk
from tests.toys import ENDS, CountingEnv, DictEnv, KnownModel, Script, SummingModel, resolved
from trainctl.core.engine.collecting.collector import RolloutCollector
from trainctl.core.engine.collecting.rollout import Rollout
from trainctl.core.engine.environments import Environments
from trainctl.core.engine.environments.grouped import GroupedEnvironments
from trainctl.core.engine.environments.serial import SerialEnvironments
from trainctl.core.engine.environments.vector import VectorEnvironments
from trainctl.core.engine.workers.workers import SingleWorker

KINDS = ("serial", "groups", "NEXT_STEP", "SAME_STEP", "DISABLED")
CPU = torch.device("cpu")
UNIT = 0.001

scripts = st.lists(st.tuples(st.integers(1, 4), st.sampled_from(ENDS)), min_size=1, max_size=4)
Make = Callable[[Script, float], gymnasium.Env[Any, Any]]


def environments(kind: str, scripts: Sequence[Script], make: Make = CountingEnv) -> Environments:
    """One environment for each script, stepped by us, all or each by itself, or by gymnasium in one of its modes."""
    made = iter([make(script, UNIT) for script in scripts])
    if kind == "serial":
        return SerialEnvironments(lambda: next(made), range(len(scripts)), seed=1)
    if kind == "groups":
        alone = [SerialEnvironments(lambda: next(made), range(i, i + 1), seed=1) for i in range(len(scripts))]
        return GroupedEnvironments(alone)
    functions = [lambda script=script: make(script, UNIT) for script in scripts]
    return VectorEnvironments(SyncVectorEnv(functions, autoreset_mode=AutoresetMode[kind]), 0, seed=1)


def collector_of(model: nn.Module, group: Environments, num_steps: int) -> RolloutCollector:
    collector = RolloutCollector(model, group, range(group.num_envs), seed=1, device=CPU)
    collector.begin_stage(resolved(num_steps=num_steps), None, needs_expert=False)
    return collector


def data_of(rollout: Rollout, environment: int) -> dict[str, np.ndarray]:
    """One environment's steps that are data, field by field."""
    valid = rollout.fields["valid"][:, environment]
    observations = rollout.observations
    count = observations["count"] if isinstance(observations, dict) else observations
    fields = {name: field[:, environment][valid].numpy() for name, field in rollout.fields.items() if field.dim() == 2}
    return {"observations": count[:-1, environment, 0][valid].numpy(), **fields}


def check(rollout: Rollout, environment: int, steps: Sequence[Step], gamma: float, gae_lambda: float | None) -> None:
    """The rollout holds these steps, and what the oracle makes of them."""
    found = data_of(rollout, environment)
    assert found["observations"].tolist() == [step.observation for step in steps]
    assert found["terminated"].tolist() == [step.terminated for step in steps]
    assert found["truncated"].tolist() == [step.truncated for step in steps]
    returns, values = returns_of(steps, gamma), [step.value for step in steps]
    advantages = [total - value for total, value in zip(returns, values, strict=True)]
    if gae_lambda is not None:
        advantages = advantages_of(steps, gamma, gae_lambda)
        returns = [advantage + value for advantage, value in zip(advantages, values, strict=True)]
    expected = {
        "rewards": [step.reward for step in steps],
        "values": values,
        "advantages": advantages,
        "returns": returns,
    }
    for name, numbers in expected.items():
        np.testing.assert_allclose(found[name], numbers, rtol=0, atol=1e-6, err_msg=name)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("model", [KnownModel(), SummingModel()], ids=["plain", "memory"])
@settings(max_examples=25)
@given(
    script=st.tuples(scripts, scripts),
    num_steps=st.integers(1, 9),
    gamma=st.floats(0, 1),
    gae_lambda=st.none() | st.floats(0, 1),
)
def test_returns_and_advantages_are_the_oracles(
    kind: str, model: Any, script: tuple[Script, Script], num_steps: int, gamma: float, gae_lambda: float | None
) -> None:
    collector = collector_of(model, environments(kind, script), num_steps)
    chosen = resolved(num_steps=num_steps, gamma=gamma, use_gae=gae_lambda is not None, gae_lambda=gae_lambda or 0.0)
    seen = [0, 0]
    for index in range(3):
        rollout = collector.collect(index, 0, 2)
        rollout.compute_returns(chosen, SingleWorker())
        for environment in range(2):
            valid = int(rollout.fields["valid"][:, environment].sum())
            assert valid == num_steps or kind == "NEXT_STEP"
            steps = walk(script[environment], UNIT, seen[environment] + valid, model.value_of)[seen[environment] :]
            check(rollout, environment, steps, gamma, gae_lambda)
            seen[environment] += valid
        assert rollout.steps == int(rollout.fields["valid"].sum())


SCRIPTS: list[Script] = [
    [(3, "truncated"), (2, "terminated"), (4, "both"), (1, "truncated"), (1, "truncated"), (100, "terminated")],
    [(1, "terminated"), (5, "truncated"), (2, "both"), (100, "terminated")],
]


@pytest.mark.parametrize("make", [CountingEnv, DictEnv], ids=["array", "dictionary"])
@pytest.mark.parametrize("model", [KnownModel(), SummingModel()], ids=["plain", "memory"])
def test_whole_episodes_have_the_same_returns_in_every_autoreset_mode(make: Make, model: Any) -> None:
    whole = [11, 8]  # steps of the episodes before the last
    found = {}
    for kind in KINDS:
        rollout = collector_of(model, environments(kind, SCRIPTS, make), num_steps=20).collect(0, 0, 2)
        rollout.compute_returns(resolved(num_steps=20), SingleWorker())
        found[kind] = [
            {name: numbers[:length].tolist() for name, numbers in data_of(rollout, i).items() if name[:6] != "normal"}
            for i, length in enumerate(whole)
        ]
    for kind in KINDS[1:]:
        assert found[kind] == found["serial"]


def test_the_steps_that_next_step_inserts_are_no_data() -> None:
    rollout = collector_of(KnownModel(), environments("NEXT_STEP", SCRIPTS), num_steps=9).collect(0, 0, 2)
    assert rollout.fields["valid"].T.int().tolist() == [[1, 1, 1, 0, 1, 1, 0, 1, 1], [1, 0, 1, 1, 1, 1, 1, 0, 1]]
    assert rollout.steps == 14
    assert not rollout.everything_is_valid
