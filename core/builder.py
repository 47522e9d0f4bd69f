"""Builder: what to build and with which arguments, written down now and built later."""

from __future__ import annotations

import copy
import inspect
import json
from collections.abc import Callable, Iterator, Mapping, MutableMapping
from typing import Any, Generic, Self, TypeVar

from .errors import ExperimentError, Fault, Location, TrainctlError, did_you_mean, refuse, where

Built_co = TypeVar("Built_co", covariant=True)
Original = TypeVar("Original", bound=MutableMapping[Any, Any])

_WITHOUT_KEYWORD = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)


class Builder(tuple[Any, ...], Generic[Built_co]):
    """A class (or function) and the keyword arguments to call it with; each call builds a new object.

    `Builder(PPO, {"clip_range": 0.1})()` is `PPO(clip_range=0.1)`. It is the tuple (class_type, kwargs, default), is
    equal to a Builder with equal content, and survives copy and pickle.

    What is built shares no mutable argument with the caller's dictionaries or with what was built before: kwargs and
    default are deep-copied when they are written down and again at each call. Only what is passed to the call itself is
    handed on as it is (a model's parameters, an optimizer).

    * class_type: what to call.
    * kwargs: its keyword arguments. None: none.
    * default: keyword arguments that stand where kwargs says nothing. None: none.
    * location: the line that wrote the Builder, for error messages; it is no part of the content.

    Refused with `ExperimentError`: a class_type that cannot be called, arguments that are no dictionary of names, and
    values that cannot be copied (a generator, a lock).
    """

    location: Location | None

    def __new__(
        cls,
        class_type: Callable[..., Built_co],
        kwargs: Mapping[str, Any] | None = None,
        default: Mapping[str, Any] | None = None,
    ) -> Self:
        """Write down what to build; see the class."""
        location = where()
        refuse(_faults(class_type, {"kwargs": kwargs, "default": default}, location))
        content = (class_type, _copy(class_type, kwargs, location), _copy(class_type, default, location))
        builder = super().__new__(cls, content)
        builder.location = location
        return builder

    def __getnewargs__(self) -> tuple[Any, ...]:
        return tuple(self)  # without it, copy and pickle would pass the whole tuple as class_type

    @property
    def class_type(self) -> Callable[..., Built_co]:
        """What to call."""
        called: Callable[..., Built_co] = self[0]
        return called

    @property
    def kwargs(self) -> dict[str, Any]:
        """The keyword arguments to call it with."""
        kwargs: dict[str, Any] = self[1]
        return kwargs

    @property
    def default(self) -> dict[str, Any]:
        """The keyword arguments that stand where `kwargs` says nothing."""
        default: dict[str, Any] = self[2]
        return default

    def __call__(self, /, **kwargs: Any) -> Built_co:
        """Build a new object.

        The arguments given here come before `kwargs`, and those before `default`; dictionaries among them are merged
        key by key (`recursive_update`). Raises `ExperimentError` if class_type does not take such arguments.
        """
        arguments = _copy(self.class_type, self.default, self.location)
        recursive_update(arguments, _copy(self.class_type, self.kwargs, self.location))
        recursive_update(arguments, kwargs)
        if faults := list(_call_faults(self.class_type, arguments, self.location)):
            raise ExperimentError(faults)
        return self.class_type(**arguments)

    def __repr__(self) -> str:
        words = [_as_code(self.class_type)]
        words += [_as_code(self.kwargs)] if self.kwargs else []
        words += [f"default={_as_code(self.default)}"] if self.default else []
        return f"Builder({', '.join(words)})"


def recursive_update(original: Original, update: Mapping[Any, Any]) -> Original:
    """Update a dictionary in place with another one, key by key and level by level, and return it.

    Where both hold a dictionary under a key, these are updated alike; everywhere else the update's value takes the
    place of the original's, be it a dictionary or not. The original gets its own copies of the update's dictionaries,
    lists, tuples and sets, so changing one later does not change the other. Everything else is a value and is
    put there as it is; so is a mapping that is no `dict` (a `gymnasium.spaces.Dict`).
    """
    for key, value in update.items():
        if isinstance(value, dict) and isinstance(original.get(key), dict):
            recursive_update(original[key], value)
        else:
            original[key] = _own(value)
    return original


def _own(value: Any) -> Any:
    """The value, with its containers (exactly list, tuple, set; any dict) made anew down to what they contain."""
    if isinstance(value, dict):
        own = copy.copy(value)
        own.update({key: _own(inner) for key, inner in value.items()})
        return own
    if type(value) in (list, tuple):
        return type(value)(_own(inner) for inner in value)
    return set(value) if type(value) is set else value


def _copy(class_type: object, arguments: Mapping[str, Any] | None, location: Location | None) -> dict[str, Any]:
    """A deep copy that names the argument which cannot be copied. What is no mapping has been refused: empty."""
    copies: dict[str, Any] = {}
    seen: dict[int, Any] = {}  # an object under two names stays one object
    for name, value in arguments.items() if isinstance(arguments, Mapping) else ():
        copies[name] = value
        try:
            copies[name] = copy.deepcopy(value, seen)
        except Exception as error:  # whatever a user's __deepcopy__ raises
            text = f"{name}={value!r} of {_as_code(class_type)} cannot be copied: {error}."
            hint = "Each object built gets its own copy. Give what can be copied, or a function that makes it."
            refuse([Fault(text, location, hint)])
    return copies


def _faults(class_type: object, given: Mapping[str, object], location: Location | None) -> Iterator[Fault]:
    if not callable(class_type):
        hint = "The class itself, without (): Builder(PPO, {...})."
        yield Fault(f"class_type of a Builder must be a class or a function; found {class_type!r}.", location, hint)
    named: dict[str, None] = {}
    for word, arguments in given.items():
        if arguments is None:
            continue
        if isinstance(arguments, Mapping) and all(isinstance(name, str) for name in arguments):
            named |= dict.fromkeys(arguments)
        else:
            found = f"{word} of a Builder must be a dictionary of argument names; found {arguments!r}."
            yield Fault(found, location, 'Write {"name": value, ...}.')
    if callable(class_type):
        yield from _call_faults(class_type, named, location, is_all=False)


def _call_faults(
    class_type: Callable[..., object], arguments: Mapping[str, Any], location: Location | None, is_all: bool = True
) -> Iterator[Fault]:
    """Why class_type does not take these arguments, as far as its signature tells. Builtins often have none.

    is_all: no others will be given.
    """
    try:
        # not the signature of what a decorator wraps: the decorator may take more
        signature = inspect.signature(class_type, follow_wrapped=False)
    except (TypeError, ValueError):
        return
    try:
        (signature.bind if is_all else signature.bind_partial)(**arguments)
    except TypeError as error:
        name = _as_code(class_type)
        known = [word for word, parameter in signature.parameters.items() if parameter.kind not in _WITHOUT_KEYWORD]
        unknown = [word for word in arguments if word not in known]
        for word in unknown:
            yield Fault(f"{name} takes no argument {word!r}.", location, did_you_mean(word, known))
        if not unknown:
            yield Fault(f"{name} cannot be called: {error}.", location)


def _as_code(value: object) -> str:
    """The value as one would write it in an experiment."""
    if isinstance(value, str):
        return json.dumps(value, ensure_ascii=False)  # double quotes, as the formatters write them
    if isinstance(value, dict):
        return "{" + ", ".join(f"{_as_code(key)}: {_as_code(inner)}" for key, inner in value.items()) + "}"
    if type(value) is list:
        return f"[{', '.join(map(_as_code, value))}]"
    if type(value) is tuple:
        return f"({', '.join(map(_as_code, value))}{',' if len(value) == 1 else ''})"
    if isinstance(value, type) or inspect.isroutine(value):
        return value.__qualname__.rpartition("<locals>.")[2]
    return repr(value)


def built(builder: Builder[Built_co], **arguments: Any) -> Built_co:
    """What the builder builds. Raises `ExperimentError`, at the line that wrote the builder, for whatever it raises."""
    try:
        return builder(**arguments)
    except TrainctlError:
        raise
    except Exception as error:
        name = getattr(builder.class_type, "__name__", repr(builder.class_type))
        raise ExperimentError(
            [Fault(f"{name} cannot be built: {type(error).__name__}: {error}", builder.location)]
        ) from error
