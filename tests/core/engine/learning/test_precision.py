from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from tests.core.engine.learning.test_compiled import compiled, filled_rollout, gradients_at, model_of
from tests.core.engine.learning.test_recorded import CHOICE, MODELS, OBSERVATIONS, numbers, rollout_in
from trainctl.core.engine.learning.precision import learn_in_bfloat16
from trainctl.core.engine.learning.recorded import RecordedGradients
from trainctl.core.engine.learning.weighing import Gradients, WeightedLoss
from trainctl.core.engine.learning.weights import Weights
from trainctl.core.errors import ExperimentError
from trainctl.losses import PPO


def distance(one: Tensor, other: Tensor) -> float:
    """Relative to the length of the second."""
    return float((one - other).norm() / other.norm())


@pytest.mark.parametrize("kind", MODELS)
def test_what_is_learned_in_bfloat16_is_near_to_float32_and_recorded_the_same_bits(kind: str) -> None:
    torch.manual_seed(0)
    model = MODELS[kind](CHOICE)
    rollout = rollout_in(OBSERVATIONS[kind], CHOICE, model.initial_memory(2), seed=3)
    minibatch = rollout.examples(1)[0]
    plain = Gradients(model, Weights(model), [WeightedLoss("ppo", 1.0, PPO())])
    in_float32, vector_in_float32 = numbers(plain, minibatch), plain.weights.gradients[0].clone()
    learn_in_bfloat16(model)
    in_bfloat16, vector = numbers(plain, minibatch), plain.weights.gradients[0].clone()
    assert {one.dtype for one in in_bfloat16 if one is not None} == {torch.float32}
    assert in_bfloat16[0] is not None
    torch.testing.assert_close(in_bfloat16[0], in_float32[0], rtol=0.01, atol=0.01)
    assert 1e-5 < distance(vector, vector_in_float32) < 0.05
    recorded = RecordedGradients(model, plain.weights, plain.losses)
    recorded.prepare(rollout, 1)
    assert len(recorded._recordings) == 1
    for one, other in zip(numbers(recorded, minibatch), in_bfloat16, strict=True):
        assert one is other is None or torch.equal(one, other)  # type: ignore[arg-type]


def test_acting_and_evaluating_stay_in_float32() -> None:
    model, seen, masks = model_of(), torch.randn(1, 5, 3), torch.ones(1, 5)
    logits, values = model(seen, None, masks).distribution.logits, model(seen, None, masks).values
    learn_in_bfloat16(model)
    assert not torch.equal(model(seen, None, masks).values, values)
    assert torch.equal(model.policy(seen, None, masks)[0].logits, logits)
    assert torch.equal(model.eval()(seen, None, masks).values, values)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")  # the compiler uses what torch itself has deprecated
def test_compiled_gradients_in_bfloat16_are_near_to_those_of_the_steps() -> None:
    rollout, model = filled_rollout(), model_of()
    learn_in_bfloat16(model)
    gradients, said = compiled(model, PPO(), rollout, count=2)
    assert said == ["compiling the update, which takes from a few seconds to a minute"]
    minibatch = rollout.examples(2)[0]
    gradients_at(gradients, minibatch)
    vector = gradients.weights.gradients[0].clone()
    gradients_at(Gradients(model, gradients.weights, gradients.losses), minibatch)
    assert distance(vector, gradients.weights.gradients[0]) < 0.05


class OwnDistribution(nn.Module):
    """A user's model that gives one of torch.distributions, made from logits as they are or from their float32."""

    def __init__(self, with_float: bool) -> None:
        super().__init__()
        self.layer, self.with_float = nn.Linear(3, 3), with_float

    def forward(self, observations: Tensor, memory: Any, masks: Tensor) -> Any:
        found = self.layer(observations)
        mean = found[..., :2].float() if self.with_float else found[..., :2]
        return torch.distributions.Independent(torch.distributions.Normal(mean, 1.0), 1), found[..., 2], None


def test_a_distribution_of_torch_in_bfloat16_is_refused_with_what_to_write() -> None:
    seen, masks = torch.ones(1, 5, 3), torch.ones(1, 5)
    good, bad = OwnDistribution(with_float=True), OwnDistribution(with_float=False)
    for model in (good, bad):
        learn_in_bfloat16(model)
    assert good(seen, None, masks).distribution.log_prob(torch.zeros(1, 5, 2)).dtype == torch.float32
    with pytest.raises(ExperimentError, match=r"(?s)three digits.*logits\.float\(\)"):
        bad(seen, None, masks)
