from __future__ import annotations

import pytest
import torch
from torch import Tensor

from trainctl.core.models.products import LARGE, is_large, product


@pytest.mark.parametrize("added", [None, (128,), (256, 128)], ids=["nothing", "a bias", "a matrix"])
def test_a_large_product_is_onednns_and_equal_up_to_rounding(added: tuple[int, ...] | None) -> None:
    torch.manual_seed(0)
    left, right = torch.randn(256, 64), torch.randn(128, 64).t()  # as autograd gives them: one of them transposed
    more = None if added is None else torch.randn(added)
    assert left.shape[0] * right.numel() == LARGE
    expected = left.double() @ right.double() + (0 if more is None else more.double())
    with torch.profiler.profile() as profile:
        found = product(left, right, more)
    torch.testing.assert_close(found, expected.float())
    assert "mkldnn::_linear_pointwise" in {event.key for event in profile.key_averages()}


@pytest.mark.parametrize(
    ("rows", "matrix", "expected"),
    [
        (torch.zeros(256, 64), torch.zeros(64, 128), True),
        (torch.zeros(2, 128, 64), torch.zeros(128, 64), True),
        (torch.zeros(255, 64), torch.zeros(64, 128), False),
        (torch.zeros(256, 64, dtype=torch.float64), torch.zeros(64, 128, dtype=torch.float64), False),
        (torch.zeros(256, 64, device="meta"), torch.zeros(64, 128, device="meta"), False),
    ],
    ids=["large", "of sequences", "small", "of doubles", "elsewhere"],
)
def test_what_is_a_product_for_onednn(rows: Tensor, matrix: Tensor, expected: bool) -> None:
    assert is_large(rows, matrix) == expected


def test_other_products_are_torchs() -> None:
    left, right = torch.randn(3, 4), torch.randn(4, 5)
    assert torch.equal(product(left, right), left @ right)
    assert torch.equal(product(left, right, right[0]), torch.addmm(right[0], left, right))
