from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import pytest
import torch
from gymnasium import spaces
from torch import Tensor, nn, optim

from tests.toys import resolved
from trainctl import LinearDecay
from trainctl.core.batch import Batch
from trainctl.core.builder import Builder
from trainctl.core.engine.collecting.rollout import Rollout
from trainctl.core.engine.learning.compiled import CompiledGradients
from trainctl.core.engine.learning.compiler import Compiler
from trainctl.core.engine.learning.graph_step import GraphStep
from trainctl.core.engine.learning.learner import Learner
from trainctl.core.engine.learning.minibatch import Minibatch
from trainctl.core.engine.learning.weighing import Gradients, WeightedLoss
from trainctl.core.engine.learning.weights import Weights
from trainctl.core.engine.workers.workers import SingleWorker
from trainctl.core.errors import NonFiniteError
from trainctl.core.model import ActorCriticOutput
from trainctl.core.models.normalization import ObservationNormalizer
from trainctl.losses import PPO, LossOutput
from trainctl.models import MLPActorCritic

# the compiler uses what torch itself has deprecated
pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore")]

SPACES = (spaces.Box(-1, 1, (3,)), spaces.Discrete(2))


def model_of(**arguments: Any) -> MLPActorCritic:
    torch.manual_seed(0)
    return MLPActorCritic(*SPACES, hidden_sizes=(4,), **arguments)


def filled_rollout(memory: Tensor | None = None) -> Rollout:
    """5 steps of 2 environments, with made-up content."""
    torch.manual_seed(1)
    rollout = Rollout(5, 2, SPACES, torch.device("cpu"))
    rollout.host_observations[:] = torch.randn(6, 2, 3).numpy()
    rollout.host_rewards[:] = torch.randn(5, 2).numpy()
    rollout.host_flags["valid"][:] = True
    rollout.first_memory = memory
    rollout.finish(has_expert=False)
    zeros = torch.zeros(5, 2)
    rollout.fields |= {"values": zeros, "log_probs": zeros - 0.7, "final_values": zeros, "bootstrap_value": zeros[0]}
    rollout.compute_returns(resolved(), SingleWorker())
    return rollout


def compiled(model: nn.Module, loss: Any, rollout: Rollout, count: int = 2) -> tuple[CompiledGradients, list[str]]:
    said: list[str] = []
    compiler = Compiler(said.append, said.append)
    gradients = CompiledGradients(model, Weights(model), [WeightedLoss("loss", 2.0, loss)], compiler)
    gradients.prepare(rollout, count)
    return gradients, said


def gradients_at(gradients: Gradients, minibatch: Minibatch) -> tuple[dict[str, float], list[Tensor | None]]:
    with gradients.of_one_update():
        tags, numbers = gradients(minibatch)
    return dict(zip(tags, numbers.tolist(), strict=True)), [
        None if p.grad is None else p.grad.clone() for p in gradients.weights.parameters
    ]


class PolicyOnly:
    """A loss that the value function has no part in."""

    def __call__(self, batch: Batch, output: ActorCriticOutput) -> LossOutput:
        value = batch.mean(-output.distribution.log_prob(batch.actions))
        return LossOutput(value, {"policy": value})


class OwnPPO(PPO):
    """A user's, of which nobody knows what it does: torch's compiler has to look at the Python."""


class AsksForTheSteps(PolicyOnly):
    def __call__(self, batch: Batch, output: ActorCriticOutput) -> LossOutput:
        value, *others = super().__call__(batch, output)
        return LossOutput(value * batch.stage_steps, *others)


class Untraceable(PolicyOnly):
    """Python decides what is computed, by a number of the batch."""

    def __call__(self, batch: Batch, output: ActorCriticOutput) -> LossOutput:
        if float(batch.actions.sum()) < 1000:
            return super().__call__(batch, output)
        raise AssertionError("never")


@pytest.mark.parametrize("loss", [PPO(), PPO(clip_decay=LinearDecay(200)), PolicyOnly()])
def test_compiled_gradients_are_those_of_the_steps_up_to_rounding(loss: Any) -> None:
    rollout, model = filled_rollout(), model_of()
    gradients, said = compiled(model, loss, rollout, count=3)
    plain = Gradients(model, gradients.weights, gradients.losses)
    assert said == ["compiling the update, which takes from a few seconds to a minute"]
    for size in (3, 4, 7):  # two that are compiled, and one that is not
        batch = _first(rollout, size)
        numbers, own = gradients_at(gradients, batch)
        expected_numbers, expected = gradients_at(plain, batch)
        assert numbers == pytest.approx(expected_numbers, rel=1e-4, abs=1e-6)
        assert [one is None for one in own] == [one is None for one in expected]
        for one, other in zip(own, expected, strict=True):
            if one is not None and other is not None:
                torch.testing.assert_close(one, other)


@pytest.mark.parametrize("loss", [PPO(), OwnPPO()])
def test_a_graph_sees_what_the_model_keeps_beside_its_parameters(loss: PPO) -> None:
    rollout, model = filled_rollout(), model_of(normalize_observations=True)
    gradients, _ = compiled(model, loss, rollout)
    (normalizer,) = (module for module in model.modules() if isinstance(module, ObservationNormalizer))
    normalizer.update(*normalizer.measure(rollout.valid_observations() + 3.0))
    batch = rollout.examples(2)[0]
    numbers, _ = gradients_at(gradients, batch)
    expected, _ = gradients_at(Gradients(model, gradients.weights, gradients.losses), batch)
    assert numbers == pytest.approx(expected, rel=1e-4, abs=1e-6)


def test_a_minibatch_of_another_size_than_the_one_compiled_is_computed_step_by_step() -> None:
    rollout, model = filled_rollout(), model_of()
    gradients, _ = compiled(model, PPO(), rollout, count=2)  # all minibatches have 5 steps: one graph
    numbers, own = gradients_at(gradients, _first(rollout, 3))
    expected_numbers, expected = gradients_at(Gradients(model, gradients.weights, gradients.losses), _first(rollout, 3))
    assert numbers == expected_numbers
    assert all(torch.equal(one, other) for one, other in zip(own, expected, strict=True) if one is not None)  # type: ignore[arg-type]


def _first(rollout: Rollout, size: int) -> Minibatch:
    """A minibatch of this many steps."""
    return replace(rollout.examples(1)[0], index=torch.arange(size), stage_steps=123)


@pytest.mark.parametrize("loss", [Untraceable(), AsksForTheSteps()], ids=["Python decides", "asks for the steps"])
def test_what_cannot_be_compiled_is_computed_step_by_step_with_a_note(loss: Any) -> None:
    rollout, model = filled_rollout(), model_of()
    gradients, said = compiled(model, loss, rollout)
    assert "not compiled" in said[-1]
    batch = _first(rollout, 5)
    numbers, own = gradients_at(gradients, batch)
    expected_numbers, expected = gradients_at(Gradients(model, gradients.weights, gradients.losses), batch)
    assert numbers == expected_numbers
    assert [one is None for one in own] == [other is None for other in expected]
    assert all(torch.equal(one, other) for one, other in zip(own, expected, strict=True) if one is not None)  # type: ignore[arg-type]


@pytest.mark.parametrize(("memory", "size", "loss"), [("gru", 3, PPO()), ("lstm", 6, PPO()), ("gru", 3, OwnPPO())])
def test_a_model_with_memory_goes_through_time_in_one_operation_of_the_graph(memory: str, size: int, loss: PPO) -> None:
    rollout, model = filled_rollout(torch.full((2, size), 0.5)), model_of(memory=memory, memory_size=3)
    rollout.host_masks[3, 1] = 0.0
    gradients, said = compiled(model, loss, rollout)
    assert said == ["compiling the update, which takes from a few seconds to a minute"]
    (example,) = rollout.examples(2)
    numbers, own = gradients_at(gradients, example)
    expected_numbers, expected = gradients_at(Gradients(model, gradients.weights, gradients.losses), example)
    assert numbers == pytest.approx(expected_numbers, rel=1e-4, abs=1e-6)
    for one, other in zip(own, expected, strict=True):
        torch.testing.assert_close(one, other)
    assert own[0] is not None
    assert float(own[0].abs().sum()) > 0
    # where some steps are no data their number is asked for, which a graph cannot
    rollout.host_flags["valid"][2, 0] = False
    rollout.finish(has_expert=False)
    some = replace(example, content={**example.content, "valid": rollout.fields["valid"]})
    _, own = gradients_at(gradients, some)
    _, expected = gradients_at(Gradients(model, gradients.weights, gradients.losses), some)
    assert all(torch.equal(one, other) for one, other in zip(own, expected, strict=True))  # type: ignore[arg-type]


class OwnMemory(MLPActorCritic):
    """Goes through time in a loop of its own."""

    def __init__(self) -> None:
        super().__init__(*SPACES, hidden_sizes=(4,))
        self.carry = nn.Linear(3, 3)

    def forward(self, observations: Any, memory: Any, masks: Tensor) -> ActorCriticOutput:
        for step, mask in zip(observations, masks, strict=True):
            memory = torch.tanh(self.carry(step) + memory * mask[:, None])
        output = super().forward(observations + memory, None, masks)
        return output._replace(memory=memory)


def test_a_memory_that_would_be_a_part_of_the_graph_for_each_step_is_not_compiled() -> None:
    torch.manual_seed(0)
    _, said = compiled(OwnMemory(), PPO(), filled_rollout(torch.zeros(2, 3)))
    assert said == ["not compiled: the update of a model with memory; on a CPU those of trainctl's GRU and LSTM are"]


@pytest.mark.parametrize(
    ("kind", "arguments", "loss"),
    [
        (optim.Adam, {"lr": 0.1, "weight_decay": 0.1, "maximize": True}, PPO()),
        (optim.AdamW, {"lr": 0.1, "betas": (0.5, 0.9)}, PPO()),
        (optim.AdamW, {"lr": 0.1, "weight_decay": 0.1}, OwnPPO()),
    ],
)
def test_a_step_in_the_graph_is_the_optimizers_up_to_rounding(
    kind: Any, arguments: dict[str, Any], loss: PPO, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[GraphStep] = []
    was_made = GraphStep.was_made
    monkeypatch.setattr(GraphStep, "was_made", lambda step: (was_made(step), made.append(step)))
    rollout, losses = filled_rollout(), [WeightedLoss("ppo", 2.0, loss)]
    settings = resolved(max_grad_norm=0.01, update_repeats=2, num_mini_batch=2)
    said: list[str] = []
    found = []
    for compiles in (True, False):
        torch.manual_seed(0)
        learner = Learner(model_of(), Builder(kind, arguments), None, SingleWorker(), seed=1)
        if compiles:
            learner.compile(Compiler(said.append, said.append))
        means = [learner.update(rollout, losses, settings, index, 0) for index in (0, 1)]
        learner.optimizer.param_groups[0] |= {"lr": 0.01, "betas": (0.7, 0.8)}  # as OneCycleLR does
        means.append(learner.update(rollout, losses, settings, 2, 0))
        learner.step(
            learner.parameters[0].square().sum(), 1, settings
        )  # one that no graph makes, with fewer parameters
        means.append(learner.update(rollout, losses, settings, 3, 0))
        steps = [int(state["step"]) for state in learner.optimizer.state_dict()["state"].values()]
        found.append(([parameter.detach().clone() for parameter in learner.parameters], means, steps))
    (ours, our_means, our_steps), (theirs, their_means, their_steps) = found
    assert said == ["compiling the update, which takes from a few seconds to a minute"]
    assert len(made) == 12  # two in each of two repeats of three updates
    assert our_steps == their_steps
    assert max(our_steps) == 17
    torch.testing.assert_close(ours, theirs, rtol=1e-3, atol=1e-5)
    for one, other in zip(our_means, their_means, strict=True):
        assert one.keys() == other.keys()
        assert [mean for mean, _ in one.values()] == pytest.approx(
            [mean for mean, _ in other.values()], rel=1e-2, abs=1e-4
        )


def test_after_a_stage_that_left_parameters_out_gradients_are_compiled_and_steps_made_apart(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    compiled, ran = CompiledGradients._run, []

    def run(self: CompiledGradients, *given: Any) -> list[Tensor]:
        ran.append(self.losses[0].name)
        return compiled(self, *given)

    monkeypatch.setattr(CompiledGradients, "_run", run)
    learner = Learner(model_of(), Builder(optim.Adam, {"lr": 0.1}), None, SingleWorker(), seed=1)
    learner.compile(Compiler(print, print))
    rollout, settings = filled_rollout(), resolved(update_repeats=1, num_mini_batch=2)
    for index, (name, loss) in enumerate((("imitation", PolicyOnly()), ("ppo", PPO()))):
        learner.update(rollout, [WeightedLoss(name, 1.0, loss)], settings, index, 0)
    assert ran == ["imitation", "imitation", "ppo", "ppo"]


def test_a_graph_that_meets_non_finite_numbers_changes_nothing_and_the_error_says_what_is_wrong() -> None:
    learner = Learner(model_of(), Builder(optim.Adam, {"lr": 0.1}), None, SingleWorker(), seed=1)
    learner.compile(Compiler(print, print))
    rollout, losses = filled_rollout(), [WeightedLoss("ppo", 1.0, PPO())]
    settings = resolved(update_repeats=1, num_mini_batch=1)
    learner.update(rollout, losses, settings, 0, 0)
    before = [parameter.detach().clone() for parameter in learner.parameters]
    rollout.fields["returns"][0, 0] = math.inf
    for learner.looks_later in (False, True):
        with pytest.raises(NonFiniteError, match="loss = inf"):
            learner.update(rollout, losses, settings, 1, 0)
    assert all(torch.equal(now, then) for now, then in zip(learner.parameters, before, strict=True))


def test_a_rollout_without_a_step_that_is_data_teaches_nothing() -> None:
    rollout = filled_rollout()
    rollout.host_flags["valid"][:] = False
    rollout.fields["valid"][:] = False
    rollout.compute_returns(resolved(), SingleWorker())
    assert bool(rollout.fields["normalized_advantages"].isfinite().all())
    own = Learner(model_of(), Builder(optim.SGD, {"lr": 0.5}), None, SingleWorker(), seed=1)
    assert rollout.most_minibatches(4) == 0
    assert own.update(rollout, [WeightedLoss("ppo", 1.0, PPO())], resolved(num_mini_batch=4), 0, 0) == {}
