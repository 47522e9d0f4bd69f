from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from trainctl.core.models import recurrence, recurrence_loops, sequences
from trainctl.core.models.recurrence_loops import add_product, sigmoid, tanh
from trainctl.core.models.sequences import GRUSequence, LSTMSequence

KINDS = [(GRUSequence, 3, 1), (LSTMSequence, 4, 2)]


def inputs(gates: int, memory: int, steps: int, sequences: int, size: int) -> list[Tensor]:
    generator = torch.Generator().manual_seed(0)
    shapes = [(steps, sequences, gates * size), (sequences, memory * size), (steps, sequences, 1)]
    found = [torch.randn(shape, generator=generator) for shape in [*shapes, (gates * size, size), (gates * size,)]]
    found[2] = (found[2] > -1).float()
    return found


def outcome(sequence: Any, given: Sequence[Tensor]) -> list[Tensor]:
    """Outputs, last cells of an LSTM, and the gradients of a number made of these."""
    given = [one.requires_grad_(index != 2) for index, one in enumerate(given)]
    found = [one for one in sequence.apply(*given) if one.requires_grad]
    number = torch.stack([(one * torch.linspace(-1, 1, one.numel()).view_as(one)).sum() for one in found]).sum()
    return [*found, *torch.autograd.grad(number, [one for one in given if one.requires_grad])]


@pytest.mark.parametrize(("sequence", "gates", "memory"), KINDS)
@given(steps=st.integers(1, 6), sequences=st.integers(1, 5), size=st.integers(1, 21))
@settings(max_examples=30, deadline=None)
def test_the_loops_compute_what_torch_does(
    sequence: Any, gates: int, memory: int, steps: int, sequences: int, size: int
) -> None:
    given = inputs(gates, memory, steps, sequences, size)
    by_torch = outcome(sequence, [one.double() for one in given])
    by_loops = outcome(sequence, given)
    assert by_loops[0].dtype == torch.float32
    for found, expected in zip(by_loops, by_torch, strict=True):
        torch.testing.assert_close(found.double(), expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(("sequence", "gates", "memory"), KINDS)
def test_small_steps_of_float32_are_for_the_loops(
    sequence: Any, gates: int, memory: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    class AskedError(Exception):
        pass

    def ask(*_: Any) -> None:
        raise AskedError

    given = inputs(gates, memory, 2, 2, 8)
    monkeypatch.setattr(recurrence_loops, "gru", ask)
    monkeypatch.setattr(recurrence_loops, "lstm", ask)
    sequence.apply(*(one.double() for one in given))
    monkeypatch.setattr(sequences, "SMALL", 2 * gates * 8 * 8 - 1)
    sequence.apply(*given)
    monkeypatch.setattr(sequences, "SMALL", 2 * gates * 8 * 8)
    with pytest.raises(AskedError):
        sequence.apply(*given)


@pytest.mark.parametrize(("sequence", "gates", "memory"), KINDS)
def test_what_is_not_a_number_stays_none(sequence: Any, gates: int, memory: int) -> None:
    given = inputs(gates, memory, 3, 2, 4)
    given[0][1, 0, 0] = float("nan")  # in the second step of the first sequence
    outputs = sequence.apply(*given)[0]
    assert outputs.isnan().any(dim=-1).tolist() == [[False, False], [True, False], [True, False]]


def test_tanh_and_sigmoid_are_right_to_the_last_digits_of_float32() -> None:
    many = np.linspace(-20, 20, 100_001, dtype=np.float32)
    exact = np.tanh(many.astype(np.float64))
    assert np.abs([tanh(x) for x in many] - exact).max() < 3e-7
    assert np.abs([sigmoid(x) for x in many] - (1 + np.tanh(many.astype(np.float64) / 2)) / 2).max() < 2e-7
    assert [tanh(np.float32(x)) for x in (0, np.inf, -np.inf)] == pytest.approx([0, 1, -1], abs=3e-7)
    assert np.isnan(tanh(np.float32(np.nan)))


@pytest.mark.parametrize("terms", [1, 4, 6])
def test_a_product_is_added_to_what_stands_there(terms: int) -> None:
    found, left = np.ones((2, 3), np.float32), np.arange(2 * terms, dtype=np.float32).reshape(2, terms)
    right = np.arange(3 * terms, dtype=np.float32).reshape(terms, 3)
    add_product(found, left, right)
    assert np.array_equal(found, 1 + left @ right)


def test_recurrence_names_what_the_loops_compute() -> None:
    for name in ("gru", "gru_gradient", "lstm", "lstm_gradient"):
        assert (
            list(vars(recurrence)[name].__annotations__)[:-1]
            == list(vars(recurrence_loops)[name].py_func.__annotations__)[:-1]
        )
