"""Several workers, as real processes joined by gloo."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from typing import Any

import pytest
import torch

from trainctl.core.engine.workers.workers import Fleet, SingleWorker, is_one_of_many, of_this_attempt

HEAD = """
import json, sys, torch
torch.set_num_threads(1)
from trainctl.core.engine.workers.workers import worker_group
with worker_group(torch.device("cpu"), timeout=60) as workers:
    answer = None
"""


def in_workers(count: int, body: str) -> list[Any]:
    """Run the lines in `count` workers; each sets `answer`, which is given back by rank."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    lines = HEAD + "".join(f"    {line}\n" for line in body.splitlines()) + "print(json.dumps(answer))\n"
    processes = []
    for rank in range(count):
        place = {"RANK": str(rank), "WORLD_SIZE": str(count), "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
        processes.append(
            subprocess.Popen(
                [sys.executable, "-c", lines], stdout=subprocess.PIPE, env={**os.environ, **place}, text=True
            )
        )
    outputs = [process.communicate(timeout=120)[0] for process in processes]
    assert [process.returncode for process in processes] == [0] * count
    return [json.loads(output) for output in outputs]


def test_a_group_of_one_has_nobody_to_ask() -> None:
    workers = SingleWorker()
    assert workers.gather([3]) == [[3]]
    assert workers.from_first("a") == "a"
    assert not workers.any(False)


def test_workers_hear_each_other() -> None:
    body = """
tensor = torch.tensor([1.0, workers.rank])
workers.sum_tensors([tensor])
own = {"rank": workers.rank, "text": "x" * (5 * workers.rank)}
answer = [tensor.tolist(), workers.gather(own), workers.from_first([workers.rank]), workers.any(workers.rank == 2)]
"""
    everything = [{"rank": rank, "text": "x" * (5 * rank)} for rank in range(3)]
    assert in_workers(3, body) == [[[3.0, 3.0], everything, [0], True]] * 3


def test_uneven_shares_give_the_gradient_of_the_mean_over_all_samples() -> None:
    body = """
from trainctl.core.engine.learning.weights import Weights
torch.manual_seed(0)
model = torch.nn.Linear(3, 1).double()
unused = torch.nn.Linear(1, 1).double()
data = torch.arange(21, dtype=torch.float64).view(7, 3) / 10
own = data[:4] if workers.rank == 0 else data[4:]
weights = Weights(torch.nn.ModuleList([model, unused]))
loss = model(own).square().mean()
weights.backward(loss)
loss = weights.average(loss, len(own), workers)
answer = [loss.item(), [None if p.grad is None else p.grad.tolist() for p in weights.parameters]]
torch.manual_seed(0)
model = torch.nn.Linear(3, 1).double()
alone = model(data).square().mean()
alone.backward()
answer += [alone.item(), [p.grad.tolist() for p in model.parameters()]]
"""
    for loss, gradients, alone, expected in in_workers(2, body):
        assert loss == pytest.approx(alone, rel=1e-12)
        assert gradients[2:] == [None, None]
        assert gradients[0][0] == pytest.approx(expected[0][0], rel=1e-12)
        assert gradients[1] == pytest.approx(expected[1], rel=1e-12)


UNEVEN = """
import numpy as np
from gymnasium import spaces
from tests.toys import resolved
from trainctl.core.engine.collecting.rollout import Rollout
from trainctl.core.engine.learning.weighing import Gradients, WeightedLoss
from trainctl.core.engine.learning.weights import Weights
from trainctl.core.engine.workers.workers import SingleWorker
from trainctl.losses import PPO
from trainctl.models import MLPActorCritic
SPACES = spaces.Box(-1, 1, (3,)), spaces.Discrete(2)
def gradient(columns, group):
    data = np.random.default_rng(0)
    draw = lambda *shape: torch.from_numpy(data.normal(size=shape).astype("float32"))[:, columns]
    rollout = Rollout(5, len(columns), SPACES, torch.device("cpu"))
    rollout.host_observations[:] = draw(6, 7, 3).numpy()
    rollout.host_rewards[:] = draw(5, 7).numpy()
    rollout.host_flags["valid"][:] = (np.arange(35).reshape(5, 7) % 4 > 0)[:, columns]
    rollout.finish(has_expert=False)
    values = draw(6, 7)
    rollout.fields |= {"values": values[:5], "log_probs": draw(5, 7) / 9 - 0.7, "bootstrap_value": values[5]}
    rollout.fields |= {"final_values": draw(5, 7)}
    rollout.compute_returns(resolved(), group)
    torch.manual_seed(0)
    model = MLPActorCritic(*SPACES, hidden_sizes=(4,))
    weights = Weights(model)
    minibatch, = rollout.minibatches(1, [data], 0)
    weighed = Gradients(model, weights, [WeightedLoss("ppo", 1.0, PPO())])(minibatch)
    loss = weights.average(weighed.vector[0], minibatch.size, group)
    return [minibatch.size, loss.item(), torch.cat([p.grad.flatten() for p in weights.parameters]).tolist()]
own = range(4) if workers.rank == 0 else range(4, 7)
answer = [gradient(list(own), workers), gradient(list(range(7)), SingleWorker())]
"""


def test_seven_environments_on_two_workers_give_the_gradient_of_one() -> None:
    found = in_workers(2, UNEVEN)
    assert [own[0] for own, _ in found] == [15, 11]
    for (_, loss, gradient), (size, alone, expected) in found:
        assert size == 26
        assert loss == pytest.approx(alone, rel=1e-5)
        assert gradient == pytest.approx(expected, rel=1e-4, abs=1e-6)


def test_what_is_not_finite_on_one_worker_is_not_finite_on_all() -> None:
    body = """
from trainctl.core.engine.learning.weights import Weights
weights = Weights(torch.nn.Linear(2, 1, bias=False))
factor = float("nan") if workers.rank == 1 else 1.0
loss = weights.parameters[0].sum() * factor
weights.backward(loss)
loss = weights.average(loss, 4, workers)
answer = [bool(torch.isfinite(loss)), bool(torch.isfinite(weights.parameters[0].grad).any())]
"""
    assert in_workers(2, body) == [[False, False]] * 2


def test_only_the_launchers_variables_make_a_worker() -> None:
    assert not is_one_of_many({})
    assert not is_one_of_many({"WORLD_SIZE": "1"})
    assert is_one_of_many({"WORLD_SIZE": "2"})
    assert Fleet().is_single
    assert not Fleet(nproc=2).is_single
    assert not Fleet(nnodes="1:4").is_single


def test_workers_that_start_again_do_not_find_the_addresses_of_before(monkeypatch: pytest.MonkeyPatch) -> None:
    store = torch.distributed.HashStore()
    assert of_this_attempt(store) is store
    monkeypatch.setenv("TORCHELASTIC_USE_AGENT_STORE", "True")
    monkeypatch.setenv("TORCHELASTIC_RESTART_COUNT", "0")
    of_this_attempt(store).set("address of worker 1", "long gone")
    assert of_this_attempt(store).check(["address of worker 1"])
    monkeypatch.setenv("TORCHELASTIC_RESTART_COUNT", "1")
    assert not of_this_attempt(store).check(["address of worker 1"])
