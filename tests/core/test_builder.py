from __future__ import annotations

import copy
import pickle
import threading
from collections import OrderedDict
from collections.abc import Callable
from functools import partial, wraps
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from trainctl.core.builder import Builder, recursive_update
from trainctl.core.errors import ExperimentError, collect_faults


class Network:
    def __init__(self, sizes: list[int], activation: str = "tanh", options: dict[str, Any] | None = None) -> None:
        self.sizes, self.activation, self.options = sizes, activation, options


def network(**words: Any) -> dict[str, Any]:
    return words


def test_it_builds_with_its_arguments_each_time_anew() -> None:
    builder = Builder(Network, {"sizes": [64]})
    first, second = builder(), builder()
    assert (first.sizes, first.activation) == ([64], "tanh")
    assert first is not second


def test_a_function_and_a_partial_can_be_called_too() -> None:
    assert Builder(network, {"a": 1})(b=2) == {"a": 1, "b": 2}
    assert Builder(partial(Network, [64]))(activation="relu").activation == "relu"
    assert Builder(dict, {"a": 1})() == {"a": 1}


def test_the_call_comes_before_kwargs_and_those_before_the_default() -> None:
    builder = Builder(network, {"b": "kwargs", "c": "kwargs"}, default={"a": "default", "b": "default", "c": "default"})
    assert builder(c="call") == {"a": "default", "b": "kwargs", "c": "call"}


def test_dictionaries_are_merged_at_every_level() -> None:
    builder = Builder(network, {"net": {"gru": {"size": 64}}}, default={"net": {"gru": {"size": 1, "layers": 2}}})
    assert builder(net={"gain": 0.5}) == {"net": {"gru": {"size": 64, "layers": 2}, "gain": 0.5}}
    assert builder.default == {"net": {"gru": {"size": 1, "layers": 2}}}
    assert builder.kwargs == {"net": {"gru": {"size": 64}}}


def test_an_argument_may_be_called_self() -> None:
    assert Builder(network)(self=1) == {"self": 1}


def test_left_out_dictionaries_are_empty() -> None:
    assert Builder(network) == (network, {}, {}) == Builder(network, None, None)


# Nothing mutable is shared


@pytest.mark.parametrize("word", ["kwargs", "default"])
def test_what_is_built_shares_nothing_with_what_was_built_before(word: str) -> None:
    builder = Builder(Network, **{word: {"sizes": [64], "options": {"gain": [1.0]}}})
    first = builder()
    first.sizes.append(32)
    first.options["gain"].append(2.0)  # type: ignore[index]
    assert (builder().sizes, builder().options) == ([64], {"gain": [1.0]})


@pytest.mark.parametrize("word", ["kwargs", "default"])
def test_the_callers_dictionary_may_change_afterwards(word: str) -> None:
    words: dict[str, Any] = {"sizes": [64]}
    builder = Builder(Network, **{word: words})
    words["sizes"].append(32)
    words["activation"] = "relu"
    assert (builder().sizes, builder().activation) == ([64], "tanh")
    builder().sizes.append(16)
    assert words["sizes"] == [64, 32]


def test_a_dictionary_passed_to_the_call_is_neither_changed_nor_kept() -> None:
    options = {"gain": [1.0]}
    built = Builder(network, {"options": {"bias": 0}})(options=options)
    assert built == {"options": {"bias": 0, "gain": [1.0]}}
    built["options"]["gain"].append(2.0)
    assert options == {"gain": [1.0]}


def test_what_is_passed_to_the_call_is_handed_on_as_it_is() -> None:
    parameter = torch.nn.Parameter(torch.zeros(3))
    space = gym.spaces.Dict({"image": gym.spaces.Discrete(3)})
    built = Builder(network, {"space": {"image": 1}})(params=[{"params": [parameter], "lr": 0.5}], space=space)
    assert built["params"][0]["params"][0] is parameter
    assert built["space"] is space


def test_an_optimizer_trains_the_parameters_it_is_called_with() -> None:
    model = torch.nn.Linear(2, 1)
    optimizer = Builder(torch.optim.SGD, {"lr": 0.5})(params=model.parameters())
    schedule = Builder(torch.optim.lr_scheduler.StepLR, {"step_size": 7})(optimizer=optimizer)
    assert optimizer.param_groups[0]["params"][0] is model.weight
    assert schedule.optimizer is optimizer


def test_an_object_under_two_names_stays_one_object() -> None:
    shared = [64]
    builder = Builder(network, {"actor": shared, "critic": shared})
    assert builder.kwargs["actor"] is builder.kwargs["critic"] is not shared


# A tuple, copied and pickled


@pytest.mark.parametrize("twin", [copy.copy, copy.deepcopy, lambda builder: pickle.loads(pickle.dumps(builder))])
def test_a_builder_survives_pickle_and_copy(twin: Callable[[Any], Any]) -> None:
    builder = Builder(Network, {"sizes": [64]}, {"activation": "relu"})
    other = twin(builder)
    assert type(other) is Builder
    assert other == builder == (Network, {"sizes": [64]}, {"activation": "relu"})
    assert tuple(other) == (other.class_type, other.kwargs, other.default)
    assert other.location == builder.location
    assert (other().sizes, other().activation) == ([64], "relu")
    other.kwargs["sizes"].append(32)
    assert builder.kwargs == {"sizes": [64]}


@pytest.mark.parametrize("protocol", range(2, pickle.HIGHEST_PROTOCOL + 1))
def test_a_builder_within_a_builder_survives_every_pickle_protocol(protocol: int) -> None:
    builder = Builder(network, {"inner": Builder[Network](Network, {"sizes": [64]})})
    assert pickle.loads(pickle.dumps(builder, protocol)) == builder


def test_builders_are_equal_when_their_content_is() -> None:
    assert Builder(Network, {"sizes": [64]}) == Builder(Network, {"sizes": [64]})
    assert Builder(Network, {"sizes": [64]}) != Builder(Network, {"sizes": [32]})
    assert Builder(Network, {"sizes": 1}) != Builder(Network, default={"sizes": 1})


def test_a_builder_reads_like_the_code_that_makes_it() -> None:
    assert repr(Builder(Network)) == "Builder(Network)"
    words = {"sizes": [64], "activation": 'a "b"\n', "options": {"shape": (3,), "kind": Network}}
    text = (
        'Builder(Network, {"sizes": [64], "activation": "a \\"b\\"\\n", "options": {"shape": (3,), "kind": Network}})'
    )
    assert repr(Builder(Network, words)) == text
    assert (
        repr(Builder(network, default={"a": Builder(Network)})) == 'Builder(network, default={"a": Builder(Network)})'
    )


# What is refused


def refusal(build: Callable[[], object]) -> str:
    with pytest.raises(ExperimentError) as refused:
        build()
    return str(refused.value)


def test_what_cannot_be_called_is_refused_with_the_line_that_wrote_it() -> None:
    text = refusal(lambda: Builder("PPO", {"clip_range": 0.1}))  # type: ignore[arg-type]
    assert "must be a class or a function; found 'PPO'" in text
    assert 'Builder("PPO", {"clip_range": 0.1})' in text


@pytest.mark.parametrize("faulty", [[("a", 1)], {1: "a"}, 0.1, "lr"])
@pytest.mark.parametrize("word", ["kwargs", "default"])
def test_arguments_that_are_no_dictionary_of_names_are_refused(word: str, faulty: Any) -> None:
    text = refusal(lambda: Builder(Network, **{word: faulty}))
    assert f"{word} of a Builder must be a dictionary of argument names; found {faulty!r}" in text


@pytest.mark.parametrize("value", [(n for n in range(3)), threading.Lock(), {"deep": [threading.Lock()]}])
def test_a_value_that_cannot_be_copied_is_refused_by_its_name(value: Any) -> None:
    text = refusal(lambda: Builder(Network, {"sizes": [64], "options": value}))
    assert f"options={value!r} of Network cannot be copied: cannot pickle" in text
    assert "a function that makes it" in text


def test_all_faults_are_noted_where_faults_are_collected() -> None:
    with collect_faults() as faults:
        Builder(3, {"a": threading.Lock()}, default=[])  # type: ignore[arg-type]
    assert [fault.message.split()[0] for fault in faults[:2]] == ["class_type", "default"]
    assert "cannot be copied" in faults[2].message


def test_a_wrong_argument_is_named_with_the_nearest_right_one_and_the_line_of_the_builder() -> None:
    text = refusal(lambda: Builder(Network, {"sizes": [64], "activaton": "relu"}))
    assert "Network takes no argument 'activaton'" in text
    assert "did you mean 'activation'?" in text
    assert 'Builder(Network, {"sizes": [64], "activaton": "relu"})' in text


def test_every_wrong_argument_is_named_at_once_and_before_a_missing_one() -> None:
    text = refusal(lambda: Builder(Network)(size=1, gain=2))
    assert "no argument 'size'" in text
    assert "no argument 'gain'" in text
    assert "missing" not in text
    with collect_faults() as faults:
        Builder(Network, {"size": 1}, default={"gain": 2})
    assert [fault.message.split("'")[1] for fault in faults] == ["size", "gain"]


def test_a_missing_argument_is_named() -> None:
    assert "Network cannot be called: missing a required argument: 'sizes'" in refusal(Builder(Network))


def test_an_error_inside_of_what_is_called_stays_what_it_is() -> None:
    def fails(size: int) -> None:
        raise TypeError(f"no network of size {size}")

    with pytest.raises(TypeError, match="no network of size 3"):
        Builder(fails, {"size": 3})()


def test_a_decorator_may_take_more_than_what_it_decorates() -> None:
    @wraps(network)
    def decorated(extra: int, **words: Any) -> int:
        return extra + len(words)

    @wraps(Network)
    def any_words(*args: Any, **words: Any) -> dict[str, Any]:
        return words

    assert Builder(decorated, {"extra": 3})(a=1) == 4
    assert Builder(any_words, {"unknown": 3})() == {"unknown": 3}


# recursive_update

keys = st.sampled_from("abc")
nested = st.recursive(
    st.integers() | st.lists(st.integers(), max_size=2),
    lambda inner: st.dictionaries(keys, inner, max_size=3),
    max_leaves=8,
)
dictionaries = st.dictionaries(keys, nested, max_size=3)


def test_an_update_is_in_place_and_gives_the_original() -> None:
    original = {"a": {"x": 1, "y": 2}, "b": 3}
    assert recursive_update(original, {"a": {"y": 5}, "c": 6}) is original
    assert original == {"a": {"x": 1, "y": 5}, "b": 3, "c": 6}


@pytest.mark.parametrize("value", [1, None, "text", np.zeros(2)])
def test_a_dictionary_goes_over_what_is_none_and_the_other_way_round(value: Any) -> None:
    assert recursive_update({"a": value}, {"a": {"x": 1}}) == {"a": {"x": 1}}
    assert recursive_update({"a": {"x": 1}}, {"a": value})["a"] is value


@given(original=dictionaries, update=dictionaries)
def test_the_updates_leaves_win_and_the_originals_other_keys_stay(
    original: dict[str, Any], update: dict[str, Any]
) -> None:
    before, asked = copy.deepcopy(original), copy.deepcopy(update)
    after = recursive_update(original, update)
    assert list(after) == [*before, *(key for key in asked if key not in before)]
    for key, value in after.items():
        if isinstance(asked.get(key), dict) and isinstance(before.get(key), dict):
            assert value == recursive_update(before[key], asked[key])
        else:
            assert value == asked.get(key, before.get(key))


@given(original=dictionaries, update=dictionaries)
def test_the_same_update_twice_is_the_update_once(original: dict[str, Any], update: dict[str, Any]) -> None:
    once = copy.deepcopy(recursive_update(original, update))
    assert recursive_update(original, update) == once


def scramble(value: Any) -> None:
    for inner in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
        scramble(inner)
    if isinstance(value, dict):
        value["scrambled"] = True
    elif isinstance(value, list):
        value.append("scrambled")


@given(original=dictionaries, update=dictionaries)
def test_changing_the_original_later_never_changes_the_update(original: dict[str, Any], update: dict[str, Any]) -> None:
    asked = copy.deepcopy(update)
    scramble(recursive_update(original, update))
    assert update == asked


def test_kinds_of_dictionaries_are_kept_and_what_is_no_dict_is_a_value() -> None:
    space = gym.spaces.Dict({"image": gym.spaces.Discrete(3)})
    original: dict[str, Any] = {"space": {"image": 1}}
    after = recursive_update(original, {"ordered": OrderedDict(a=[1]), "space": space, "set": {1}})
    assert after["space"] is space
    assert type(after["ordered"]) is OrderedDict
    assert after["set"] == {1}
