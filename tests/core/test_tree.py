from __future__ import annotations

import numpy as np
import pytest

from trainctl.core.tree import filled, flatten, leaves, map_tree

TREE = {"image": 1, "pose": {"x": 2, "y": 3}}


def test_a_function_is_applied_to_every_leaf() -> None:
    assert map_tree(lambda leaf: 10 * leaf, TREE) == {"image": 10, "pose": {"x": 20, "y": 30}}


def test_trees_of_the_same_shape_are_walked_together_by_key_and_not_by_order() -> None:
    other = {"pose": {"y": 300, "x": 200}, "image": 100}
    assert map_tree(lambda a, b: a + b, TREE, other) == {"image": 101, "pose": {"x": 202, "y": 303}}


def test_what_is_no_dictionary_is_a_leaf() -> None:
    array = np.arange(3)
    assert map_tree(lambda leaf: leaf.sum(), array) == 3
    assert list(leaves(array)) == [array]


def test_leaves_come_in_the_order_of_the_keys() -> None:
    assert list(leaves(TREE)) == [1, 2, 3]


def test_a_tree_is_filled_with_other_leaves_whatever_its_keys_look_like() -> None:
    tree = {"a.b": 1, "c": {"": 2, "d": 3}}
    assert filled(tree, "xyz") == {"a.b": "x", "c": {"": "y", "d": "z"}}
    assert filled(7, ["x"]) == "x"


def test_flattening_names_each_leaf_by_its_path() -> None:
    assert flatten(TREE) == {"image": 1, "pose.x": 2, "pose.y": 3}


def test_a_tree_that_is_a_leaf_has_the_empty_path() -> None:
    assert flatten(7) == {"": 7}


def test_a_tree_that_lacks_a_part_of_the_first_is_an_error() -> None:
    with pytest.raises(KeyError, match="pose"):
        map_tree(lambda a, b: a, TREE, {"image": 1})
