from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from gymnasium import spaces
from torch import nn
from torch.distributions import Categorical, Independent, Normal

from tests.toys import KnownModel, SummingModel
from trainctl.core.engine.first_forward import look_at_model
from trainctl.core.errors import ExperimentError
from trainctl.core.model import ActorCriticOutput

SEEN = spaces.Box(-1.0, 1.0, (4,), np.float32)
TWO, PLANE = spaces.Discrete(2), spaces.Box(-1.0, 1.0, (3,), np.float32)
LOGITS, VALUES, MEANS = torch.zeros(1, 2, 2), torch.zeros(1, 2), torch.zeros(1, 2, 3)


class Answering(nn.Module):
    """Answers with what it was given."""

    def __init__(self, answer: Any) -> None:
        super().__init__()
        self.answer = answer

    def forward(self, observations: Any, memory: Any, masks: Any) -> Any:
        return self.answer


def output(distribution: Any = None, values: Any = VALUES, memory: Any = None) -> ActorCriticOutput:
    return ActorCriticOutput(distribution or Categorical(logits=LOGITS), values, memory)


@pytest.mark.parametrize(
    ("answer", "space", "complaint"),
    [
        ((LOGITS, VALUES), TWO, "gave (float32 (1, 2, 2), float32 (1, 2)), not an ActorCriticOutput"),
        (output(distribution=[1]), TWO, "gave (1) as distribution"),
        (output(values=VALUES[0]), TWO, "gave values float32 (2,), not (1, 2)"),
        (output(values=VALUES[..., None]), TWO, "gave values float32 (1, 2, 1), not (1, 2)"),
        (output(memory=VALUES), TWO, "gave memory float32 (1, 2), where initial_memory gives None"),
        (output(), spaces.Discrete(3), "gave 2 logits for Discrete(3)"),
        (output(Categorical(logits=LOGITS[0])), TWO, "gave a distribution over actions int64 (2,), not (1, 2)"),
        (output(), PLANE, "gave a distribution over actions int64 (1, 2), not (1, 2, 3)"),
        (output(Normal(MEANS, 1.0)), PLANE, "log-probabilities float32 (1, 2, 3), not (1, 2)"),
    ],
)
def test_a_wrong_answer_is_named_where_it_is_written(answer: Any, space: Any, complaint: str) -> None:
    with pytest.raises(ExperimentError) as caught:
        look_at_model(Answering(answer), SEEN, space)
    fault = caught.value.faults[0]
    assert fault.message.startswith("forward of Answering, for T = 1 step of B = 2 environments, ")
    assert complaint in fault.message
    assert fault.location is not None
    assert fault.location.file == __file__


@pytest.mark.parametrize(
    ("model", "space"),
    [
        (Answering(output()), TWO),
        (Answering(output(Independent(Normal(MEANS, 1.0), 1))), PLANE),
        (KnownModel(), spaces.Discrete(3)),
        (SummingModel(), spaces.Discrete(3)),
    ],
)
def test_what_forward_promises_is_accepted(model: nn.Module, space: Any) -> None:
    look_at_model(model, spaces.Box(-1.0, 1.0, (1,), np.float32), space)


class Forgetful(nn.Module):
    def forward(self, observations: Any) -> Any:
        return output()


def test_forward_takes_three_arguments() -> None:
    with pytest.raises(ExperimentError, match="cannot be called with three arguments: too many"):
        look_at_model(Forgetful(), SEEN, TWO)


class TooNarrow(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(3, 2)

    def forward(self, observations: Any, memory: Any, masks: Any) -> Any:
        return output(Categorical(logits=self.layer(observations)))


def test_what_the_model_raises_itself_says_what_it_was_given() -> None:
    with pytest.raises(RuntimeError, match="cannot be multiplied") as caught:
        look_at_model(TooNarrow(), SEEN, TWO)
    given = "observations float32 (1, 2, 4), memory None, masks float32 (1, 2)"
    assert caught.value.__notes__ == [f"  forward of TooNarrow was given {given}"]


class Counting(nn.Module):
    """Draws a number, and changes with each call: in its buffers if it is training, and in itself."""

    def __init__(self) -> None:
        super().__init__()
        self.norm = nn.BatchNorm1d(4)
        self.register_buffer("calls", torch.zeros(()))

    def forward(self, observations: Any, memory: Any, masks: Any) -> Any:
        self.calls += 1
        self.norm(observations[0] + torch.rand(()) + np.random.random())
        return output()


def test_looking_changes_neither_the_model_nor_what_is_drawn_next() -> None:
    model = Counting()
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    torch.manual_seed(5)
    drawn = torch.rand(())
    torch.manual_seed(5)
    look_at_model(model, SEEN, TWO)
    assert torch.rand(()) == drawn
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())
    assert model.training


class Remembering(Answering):
    def initial_memory(self, count: int) -> Any:
        return self.answer


@pytest.mark.parametrize(
    ("memory", "said"),
    [
        ((torch.zeros(2, 8), torch.zeros(2, 8)), "gave (float32 (2, 8), float32 (2, 8))"),
        (torch.zeros(1, 2, 8), "gave float32 (1, 2, 8)"),
        (torch.zeros(()), "gave float32 ()"),
    ],
)
def test_a_memory_is_one_tensor_with_a_row_for_each_environment(memory: Any, said: str) -> None:
    with pytest.raises(ExperimentError, match=r"initial_memory of Remembering, for B = 2 environments, gave") as caught:
        look_at_model(Remembering(memory), SEEN, TWO)
    fault = caught.value.faults[0]
    assert said in fault.message
    assert "torch.cat([h, c], -1)" in (fault.hint or "")
    assert fault.location is not None


class Lazy(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.policy, self.value = nn.LazyLinear(2), nn.LazyLinear(1)

    def forward(self, observations: Any, memory: Any, masks: Any) -> Any:
        return output(Categorical(logits=self.policy(observations)), self.value(observations)[..., 0])


def test_lazy_modules_get_their_shapes_and_can_be_trained() -> None:
    model = Lazy()
    torch.manual_seed(5)
    drawn = torch.rand(())
    torch.manual_seed(5)
    look_at_model(model, SEEN, TWO)
    assert torch.rand(()) == drawn
    assert [tuple(parameter.shape) for parameter in model.parameters()] == [(2, 4), (2,), (1, 4), (1,)]
    model(torch.ones(1, 2, 4), None, torch.ones(1, 2)).values.sum().backward()
    assert model.value.weight.grad is not None
    assert model.training
