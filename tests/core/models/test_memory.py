from __future__ import annotations

import pytest
import torch
from torch import nn

from trainctl.core.errors import ExperimentError
from trainctl.core.models.memory import GRUMemory, LSTMMemory, NoMemory, make_memory

T, B, F, H = 7, 3, 5, 4
KINDS = ["gru", "lstm"]


def features(requires_grad: bool = False) -> torch.Tensor:
    return torch.randn(T, B, F, generator=torch.Generator().manual_seed(0)).requires_grad_(requires_grad)


def test_no_memory_leaves_the_features_alone() -> None:
    memory, given = make_memory(None, F, H), features()
    assert isinstance(memory, NoMemory)
    assert memory.initial_memory(B) is None
    assert memory.output_size == F
    assert memory(given, None, torch.ones(T, B)) == (given, None)


@pytest.mark.parametrize(("kind", "size"), [("gru", H), ("lstm", 2 * H)])
def test_the_initial_memory_is_zero_and_none_stands_for_it(kind: str, size: int) -> None:
    memory = make_memory(kind, F, H)
    zeros = memory.initial_memory(B)
    assert zeros is not None
    assert zeros.tolist() == [[0.0] * size] * B
    output, last = memory(features(), None, torch.ones(T, B))
    expected, expected_last = memory(features(), zeros, torch.ones(T, B))
    assert torch.equal(output, expected)
    assert torch.equal(last, expected_last)
    assert output.shape == (T, B, memory.output_size) == (T, B, H)


@pytest.mark.parametrize(("kind", "ours", "theirs"), [("gru", GRUMemory, nn.GRU), ("lstm", LSTMMemory, nn.LSTM)])
def test_the_arithmetic_is_that_of_torch(kind: str, ours: type, theirs: type) -> None:
    memory, reference = make_memory(kind, F, H), theirs(F, H)
    assert isinstance(memory, ours)
    with torch.no_grad():
        for own, other in zip(memory.parameters(), reference.parameters(), strict=True):
            other.copy_(own.normal_())
    output, last = memory(features(), None, torch.ones(T, B))
    expected, state = reference(features())
    torch.testing.assert_close(output, expected)
    state = torch.cat(state, dim=-1) if kind == "lstm" else state
    torch.testing.assert_close(last, state[0])


@pytest.mark.parametrize("kind", KINDS)
def test_a_zero_in_the_masks_forgets_before_the_step_and_only_in_its_sequence(kind: str) -> None:
    memory, masks = make_memory(kind, F, H), torch.ones(T, B)
    masks[3, 1] = 0
    before = torch.ones_like(memory.initial_memory(B))
    output, last = memory(features(), before, masks)
    whole, whole_last = memory(features(), before, torch.ones(T, B))
    fresh, fresh_last = memory(features()[3:], None, torch.ones(T - 3, B))
    torch.testing.assert_close(output[3:, 1], fresh[:, 1])
    torch.testing.assert_close(last[1], fresh_last[1])
    torch.testing.assert_close(output[:3], whole[:3])
    torch.testing.assert_close(output[:, [0, 2]], whole[:, [0, 2]])
    assert not torch.allclose(last[1], whole_last[1])


@pytest.mark.parametrize("kind", KINDS)
def test_gradients_do_not_cross_the_beginning_of_an_episode(kind: str) -> None:
    memory, given, masks = make_memory(kind, F, H), features(requires_grad=True), torch.ones(T, B)
    masks[4, 2] = 0
    before = torch.ones_like(memory.initial_memory(B)).requires_grad_()
    output, _ = memory(given, before, masks)
    output[6].sum().backward()
    assert given.grad is not None
    assert before.grad is not None
    reached = given.grad.abs().sum(dim=-1) > 0
    assert reached[:, 0].all()
    assert reached[:, 2].tolist() == [False] * 4 + [True] * 3
    assert (before.grad.abs().sum(dim=-1) > 0).tolist() == [True, True, False]


@pytest.mark.parametrize("kind", KINDS)
def test_weights_are_orthogonal_at_first_and_biases_zero(kind: str) -> None:
    memory = make_memory(kind, F, H)
    weight, bias = memory.weight_hidden, memory.bias_hidden
    assert isinstance(weight, torch.Tensor)
    assert isinstance(bias, torch.Tensor)
    torch.testing.assert_close(weight.T @ weight, torch.eye(H))
    assert not bias.any()


def test_an_unknown_memory_is_refused_with_the_known_ones() -> None:
    with pytest.raises(
        ExperimentError, match=r"no memory 'lstn'(.|\n)*'gru', 'lstm' \(did you mean 'lstm'\?\), or None"
    ):
        make_memory("lstn", F, H)
