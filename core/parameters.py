"""The parameters of an experiment: the defaults in its signature, and what `--set` says instead."""

from __future__ import annotations

import ast
import contextlib
import inspect
import linecache
import typing
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import pydantic

from .errors import ExperimentError, Fault, Location, did_you_mean, refuse, shown

_WORDS = {"true": True, "false": False, "none": None, "null": None}
_REJECTED = object()
_FUNCTION = (ast.FunctionDef, ast.AsyncFunctionDef)


def parameters_of(function: Callable[..., Any], settings: Mapping[str, str]) -> dict[str, Any]:
    """The value of every parameter of the experiment.

    settings: what `--set` says, key -> text. A text is read as the type in the signature; where the signature has none,
    as the type of the default. Refused: keys that are no parameters, and texts that are no such value. Raises
    `ExperimentError` if a parameter has neither a default nor a setting.
    """
    parameters = {
        name: parameter
        for name, parameter in inspect.signature(function).parameters.items()
        if parameter.kind not in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD)
    }
    refuse(_unknown_keys(settings, parameters, place_of(function)))
    types = _types(function, parameters)
    values = {name: p.default for name, p in parameters.items() if p.default is not p.empty}
    for name in parameters:
        if name in settings:
            value = read(settings[name], types[name])
            if value is _REJECTED:
                refuse([_wrong_type(name, settings[name], types[name], place_of(function, name))])
            values[name] = values.get(name) if value is _REJECTED else value
    if missing := [name for name in parameters if name not in values]:
        raise ExperimentError(_missing(name, place_of(function, name)) for name in missing)
    return values


def read(text: str, wanted: Any) -> Any:
    """The text of `--set` as a value of this type, or `_REJECTED`.

    For `str` the text itself; else a Python literal (1e-3, (64, 64), None; also true, false, none), else the text.
    """
    candidates = [text] if wanted is str else [_literal(text), text]
    for candidate in candidates:
        with contextlib.suppress(pydantic.ValidationError, pydantic.errors.PydanticUserError):
            value = pydantic.TypeAdapter(wanted).validate_python(candidate)
            if isinstance(value, bool) or not isinstance(candidate, bool):  # true is not the number 1
                return value
    return _REJECTED


def _literal(text: str) -> Any:
    if text.strip().lower() in _WORDS:
        return _WORDS[text.strip().lower()]
    try:
        return ast.literal_eval(text.strip())
    except (ValueError, SyntaxError, TypeError, MemoryError, RecursionError):
        return text


def _types(function: Callable[..., Any], parameters: Mapping[str, inspect.Parameter]) -> dict[str, Any]:
    """parameter -> its annotation, else the type of its default, else anything."""
    hints: dict[str, Any] = {}
    with contextlib.suppress(Exception):  # an annotation that exists only for type checkers
        hints = typing.get_type_hints(function)
    return {name: hints.get(name, _type_of_default(parameter)) for name, parameter in parameters.items()}


def _type_of_default(parameter: inspect.Parameter) -> Any:
    return Any if parameter.default is parameter.empty or parameter.default is None else type(parameter.default)


def _unknown_keys(
    settings: Mapping[str, str], parameters: Mapping[str, Any], place: Location | None
) -> Iterator[Fault]:
    for key, text in settings.items():
        if key not in parameters:
            yield Fault(
                f"--set {key}={text}: experiment has no parameter {key!r}", place, did_you_mean(key, parameters)
            )


def _wrong_type(name: str, text: str, wanted: Any, place: Location | None) -> Fault:
    message = f"--set {name}={text}: {name} takes {inspect.formatannotation(wanted)}, not {shown(_literal(text))}"
    return Fault(message, place)


def _missing(name: str, place: Location | None) -> Fault:
    return Fault(f"the parameter {name!r} has no value", place, f"give it with --set {name}=..., or write a default")


def place_of(function: Callable[..., Any], parameter: str = "") -> Location | None:
    """The line of the function, or of one of its parameters."""
    code = getattr(inspect.unwrap(function), "__code__", None)
    if code is None:
        return None
    tree = ast.parse("".join(linecache.getlines(code.co_filename)))
    functions = [node for node in ast.walk(tree) if isinstance(node, _FUNCTION) and node.name == code.co_name]
    arguments = [(arg.lineno, arg.arg) for node in functions for arg in [*node.args.args, *node.args.kwonlyargs]]
    lines = [line for line, name in arguments if name == parameter] or [node.lineno for node in functions]
    return Location(code.co_filename, lines[-1] if lines else code.co_firstlineno)
