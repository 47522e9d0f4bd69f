"""The files of a checkpoint hold tensors and plain data; all else is refused, on the way in and on the way out."""

from __future__ import annotations

import io
import os
import pickle
from collections import OrderedDict, defaultdict, deque, namedtuple
from enum import IntEnum
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from trainctl.core.engine.saving.checkpoint_content import decode_model, decode_state, encode_model, encode_state, plain
from trainctl.core.errors import CheckpointError

SCALARS = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text() | st.binary(min_size=1)
PLAIN = st.recursive(
    SCALARS,
    lambda inner: (
        st.lists(inner)
        | st.lists(inner).map(tuple)
        | st.sets(SCALARS)
        | st.dictionaries(st.text() | st.integers(), inner)
    ),
    max_leaves=20,
)
Pair = namedtuple("Pair", "first second")


class Colour(IntEnum):
    RED = 1


def read_back(state: dict[str, Any]) -> dict[str, Any]:
    return decode_state(encode_state(state), "training.pt")


def described(value: Any) -> str:
    """Equal for the same data of the same types; repr alone shows the order of sets, == no types."""
    if isinstance(value, set):
        return f"set of {sorted(map(described, value))}"
    if isinstance(value, dict):
        return f"dict of {[(described(key), described(item)) for key, item in value.items()]}"
    if isinstance(value, (list, tuple)):
        return f"{type(value).__name__} of {list(map(described, value))}"
    return repr(value)


@settings(deadline=None)
@given(st.dictionaries(st.text(), PLAIN, max_size=4))
def test_plain_data_comes_back_as_it_was(state: dict[str, Any]) -> None:
    assert described(read_back(state)) == described(state)


@pytest.mark.parametrize(
    "tensor",
    [
        torch.tensor(2.5),
        torch.tensor([True, False]),
        torch.arange(6).reshape(2, 3).t(),
        torch.tensor([1.5], dtype=torch.bfloat16),
        torch.tensor([0.1], dtype=torch.float64),
        torch.zeros(0, 3),
        torch.get_rng_state(),
        torch.tensor([float("nan"), float("inf"), -0.0]),
    ],
    ids=lambda tensor: f"{tensor.dtype} {tuple(tensor.shape)}",  # not the numbers: some differ in each process
)
def test_tensors_keep_their_bits_shape_and_dtype(tensor: torch.Tensor) -> None:
    as_state = read_back({"part": {"x": tensor}})["part"]["x"]
    as_model = decode_model(encode_model({"x": tensor}), "model.safetensors")["x"]
    for found in (as_state, as_model):
        assert (found.dtype, found.shape) == (tensor.dtype, tensor.shape)
        assert torch.equal(found.contiguous().view(-1).view(torch.uint8), tensor.reshape(-1).view(torch.uint8))


def test_weights_that_share_memory_are_saved_under_both_names() -> None:
    model = nn.ModuleDict({"a": nn.Linear(2, 2), "b": nn.Linear(2, 2)})
    model["b"].weight = model["a"].weight
    loaded = decode_model(encode_model(model.state_dict()), "model.safetensors")
    assert sorted(loaded) == sorted(model.state_dict())
    assert torch.equal(loaded["a.weight"], loaded["b.weight"])


def test_a_view_is_saved_without_the_memory_it_is_a_view_of() -> None:
    assert len(encode_state({"part": {"x": torch.zeros(1_000_000)[:1]}})) < 10_000


def test_what_is_nearly_plain_becomes_plain() -> None:
    counts: defaultdict[str, int] = defaultdict(int, a=1)
    state = {"n": np.float64(0.5), "i": np.int64(7), "b": np.bool_(True), "o": OrderedDict(x=1), "d": counts}
    found = read_back({"part": {**state, "w": nn.Parameter(torch.ones(1))}})["part"]
    assert found == {"n": 0.5, "i": 7, "b": True, "o": {"x": 1}, "d": {"a": 1}, "w": torch.ones(1)}
    kinds = [float, int, bool, dict, dict, torch.Tensor]
    assert [type(value) for value in found.values()] == kinds
    assert not found["w"].requires_grad


def test_the_states_of_optimizers_and_schedulers_can_be_saved() -> None:
    weights = nn.Parameter(torch.ones(3))
    for optimizer in (torch.optim.Adam([weights]), torch.optim.SGD([weights], lr=0.1, momentum=0.9)):
        scheduler = torch.optim.lr_scheduler.OneCycleLR(optimizer, max_lr=0.1, total_steps=10)
        weights.sum().backward()
        optimizer.step()
        states = {"optimizer": optimizer.state_dict(), "scheduler": scheduler.state_dict()}
        found = read_back(states)
        optimizer.load_state_dict(found["optimizer"])
        scheduler.load_state_dict(found["scheduler"])
        assert repr(optimizer.state_dict()) == repr(states["optimizer"])


@pytest.mark.parametrize(
    ("state", "words"),
    [
        ({"optimizer": {"state": {3: {"exp_avg": np.zeros(2)}}}}, "optimizer.state.3.exp_avg is a numpy.ndarray"),
        ({"returns": {"last": [1, deque([2])]}}, "returns.last.1 is a collections.deque"),
        ({"criterion": {"path": Path("x")}}, "criterion.path is a pathlib."),
        ({"criterion": lambda: 1}, "criterion is a function"),
        ({"criterion": {"pair": Pair(1, 2)}}, "criterion.pair is a"),
        ({"criterion": {"colour": Colour.RED}}, "criterion.colour is a"),
        ({"criterion": {Colour.RED: 1}}, "a key of criterion is a"),
        ({"criterion": {"x": torch.zeros(2).to_sparse()}}, "criterion.x is a torch.Tensor"),
        ({"criterion": 1j}, "criterion is a complex"),
        ({"data": {"buffer": b""}}, "data.buffer is an empty bytes object"),
        ({"data": {"n": -(2 ** (255 * 8))}}, "data.n is a whole number of more than 255 bytes"),
    ],
)
def test_what_cannot_be_saved_is_refused_with_its_place(state: dict[str, Any], words: str) -> None:
    with pytest.raises(CheckpointError, match="which a checkpoint cannot hold") as refusal:
        encode_state(state)
    assert words in str(refusal.value)


def test_only_tensors_are_saved_of_a_model() -> None:
    with pytest.raises(CheckpointError, match=r"model\.head\._extra_state is a dict"):
        encode_model({"head._extra_state": {}})  # type: ignore[dict-item]


def test_saving_changes_nothing_that_is_saved() -> None:
    state = {"numbers": OrderedDict(x=np.float64(1)), "weights": nn.Parameter(torch.ones(2))}
    plain(state, "part")
    assert type(state["numbers"]) is OrderedDict
    assert state["weights"].requires_grad  # type: ignore[union-attr]


# What comes from elsewhere


class Marker:
    """Unpickling it leaves a file behind."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> Any:
        return os.mkdir, (self.path,)


def saved_by_torch(value: Any) -> bytes:
    buffer = io.BytesIO()
    torch.save(value, buffer)
    return buffer.getvalue()


@pytest.mark.parametrize("write", [pickle.dumps, saved_by_torch], ids=["pickle", "torch.save"])
def test_code_in_a_file_is_refused_by_name_and_never_executed(write: Any, tmp_path: Path) -> None:
    data = write({"part": Marker(tmp_path / "marker")})
    with pytest.raises(CheckpointError, match=r"training\.pt was refused: it (asks|is no)") as refusal:
        decode_state(data, "training.pt")
    assert "weights_only" not in str(refusal.value)  # PyTorch's own message says how to switch the protection off
    with pytest.raises(CheckpointError, match=r"model\.safetensors was refused: it is no safetensors file"):
        decode_model(data, "model.safetensors")
    assert not (tmp_path / "marker").exists()


def test_a_refusal_names_the_code_that_was_asked_for(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"it asks for the code of \w+\.mkdir"):
        decode_state(saved_by_torch({"part": Marker(tmp_path / "marker")}), "training.pt")


def test_the_environment_variable_that_trusts_every_file_changes_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD", "1")
    with pytest.raises(CheckpointError, match="was refused"):
        decode_state(saved_by_torch(Marker(tmp_path / "marker")), "training.pt")
    assert not (tmp_path / "marker").exists()


@settings(deadline=None)
@given(st.binary(max_size=300))
def test_no_bytes_at_all_make_anything_but_a_refusal(data: bytes) -> None:
    with pytest.raises(CheckpointError, match="was refused"):
        decode_state(data, "training.pt")
    with pytest.raises(CheckpointError, match="was refused"):
        decode_model(data, "model.safetensors")


def test_a_file_that_is_no_dictionary_of_parts_is_refused() -> None:
    with pytest.raises(CheckpointError, match="it holds a list, not a dictionary of parts"):
        decode_state(saved_by_torch([1, 2]), "worker-0.pt")
