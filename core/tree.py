"""Observations are one array or a (nested) dictionary of arrays; these functions treat both alike."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, TypeAlias

from .errors import shown

Tree: TypeAlias = Any
"""An array or tensor, or a dictionary of trees."""


def map_tree(function: Callable[..., Any], tree: Tree, *others: Tree) -> Tree:
    """Apply `function` to the leaves of trees of the same shape; the result has that shape too."""
    if isinstance(tree, dict):
        return {key: map_tree(function, value, *(other[key] for other in others)) for key, value in tree.items()}
    return function(tree, *others)


def leaves(tree: Tree) -> Iterator[Any]:
    """The leaves of a tree, in the order of its keys."""
    if isinstance(tree, dict):
        for value in tree.values():
            yield from leaves(value)
    else:
        yield tree


def filled(tree: Tree, others: Iterable[Any]) -> Tree:
    """A tree of the same shape with other leaves, which come in the order of `leaves`."""
    rest = iter(others)
    return map_tree(lambda _: next(rest), tree)


def flatten(tree: Tree, prefix: str = "") -> dict[str, Any]:
    """The leaves by their path, keys joined with "."; a tree that is a leaf has the path ""."""
    if not isinstance(tree, dict):
        return {prefix: tree}
    flat: dict[str, Any] = {}
    for key, value in tree.items():
        flat |= flatten(value, f"{prefix}.{key}" if prefix else str(key))
    return flat


def made_of(tree: Tree) -> str:
    """What it is made of, for a message: "float32 (4,)", "{image: uint8 (7, 7, 3), direction: 3}", "(None, {})"."""
    if isinstance(tree, Mapping):
        return f"{{{', '.join(f'{key}: {made_of(part)}' for key, part in tree.items())}}}"
    if isinstance(tree, (tuple, list)):
        return f"({', '.join(map(made_of, tree))})"
    if hasattr(tree, "shape") and hasattr(tree, "dtype"):
        return f"{tree.dtype} {tuple(tree.shape)}".removeprefix("torch.")
    return shown(tree)
