"""Environments by id: packages that register them, and what is wrong with an id."""

from __future__ import annotations

import difflib
import importlib
import importlib.util
import re
from collections.abc import Iterable

# what registers environments with gymnasium only when imported: package -> (how its ids begin, our extra)
_PACKAGES = {"minigrid": (("MiniGrid-", "BabyAI-"), "minigrid"), "ale_py": (("ALE/",), "atari")}
# modules of gymnasium's own environments that need another package -> (package, how to install it)
_NEEDS = {
    "gymnasium.envs.mujoco": ("mujoco", 'pip install "trainctl[mujoco]"'),
    "gymnasium.envs.box2d": ("Box2D", 'pip install "gymnasium[box2d]"'),
}


def register_environment(environment_id: str) -> None:
    """Import what registers this id with gymnasium: the module in "module:Id", or a package known for such ids.

    Does nothing for ids that gymnasium knows by itself and where the package is missing. Raises whatever the import of
    the named module raises.
    """
    module, _, name = environment_id.rpartition(":")
    packages = [package for package, (beginnings, _) in _PACKAGES.items() if name.startswith(beginnings)]
    for package in [module] if module else filter(importlib.util.find_spec, packages):
        importlib.import_module(package)


def id_complaint(environment_id: str) -> tuple[str, str] | None:
    """What is wrong with this id and what to do, or None if gymnasium can make it. Registers it first."""
    from gymnasium.envs.registration import registry

    try:
        register_environment(environment_id)
    except Exception as error:
        text = f"what registers {environment_id!r} cannot be imported: {type(error).__name__}: {error}"
        return text, "the part before the colon is a module: install it, or put it beside the experiment"
    name = environment_id.rpartition(":")[2]
    if name in registry:
        return _missing_package(name, str(registry[name].entry_point))
    if (latest := _latest_version(name, registry)) is not None:
        return f"the environment id {name!r} has no version", f"write {latest!r}"
    for beginnings, extra in (known for package, known in _PACKAGES.items() if not importlib.util.find_spec(package)):
        if name.startswith(beginnings):
            return f"the environment {name!r} needs a package that is not installed", f'pip install "trainctl[{extra}]"'
    near = difflib.get_close_matches(name, registry, n=1)
    hint = f"did you mean {near[0]!r}?" if near else "a package that registers it is imported by writing 'package:Id'"
    return f"no environment is registered as {name!r}", hint


def _missing_package(name: str, entry_point: str) -> tuple[str, str] | None:
    for module, (package, command) in _NEEDS.items():
        if entry_point.startswith(module) and not importlib.util.find_spec(package):
            return f"the environment {name!r} needs the package {package!r}, which is not installed", command
    return None


def _latest_version(name: str, registry: Iterable[str]) -> str | None:
    versions = [known for known in registry if re.fullmatch(rf"{re.escape(name)}-v\d+", known)]
    return max(versions, key=lambda known: int(known.rpartition("-v")[2]), default=None)
