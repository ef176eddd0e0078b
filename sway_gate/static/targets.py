"""Which modules peft adapts, by the fields of adapter_config.json."""

import re
from collections.abc import Sequence

from sway_gate.static.config import AdapterConfig
from sway_gate.static.patterns import matched

ALL_LINEAR = ("all-linear", "dummy-target-modules")
"""Values of target_modules that are not patterns."""
_FIRST_INDEX = r".*?\.[^.]*\.(\d+)\."


def targeted(config: AdapterConfig, modules: Sequence[str]) -> list[str]:
    """The modules that peft adapts if the base has them, by the config's names and patterns.

    Raises `NotRun` for a pattern that is invalid or too expensive.
    """
    targets, excluded = config.target_modules or (), config.exclude_modules or ()
    found = set(modules) if targets in ALL_LINEAR else _chosen(targets, modules)
    found -= _chosen(excluded, modules)
    # peft does not adapt a module of modules_to_save, nor what it contains.
    found -= _matching(config.modules_to_save, modules, r"(.*\.)?{}(\..*)?")
    return [module for module in modules if module in found and _is_in_layer(config, module)]


def ends_with(module: str, names: Sequence[str]) -> bool:
    """Whether a name is the module's, or the end of it after a dot."""
    return any(module == name or module.endswith(f".{name}") for name in names)


def _chosen(names: str | Sequence[str], modules: Sequence[str]) -> set[str]:
    """The modules that a pattern matches, or whose names end with one of several names."""
    if isinstance(names, str):
        return _matching([names], modules, "{}")
    return {module for module in modules if ends_with(module, names)}


def _matching(patterns: Sequence[str], modules: Sequence[str], form: str) -> set[str]:
    return {
        module
        for found in matched([form.replace("{}", pattern) for pattern in patterns], modules)
        for module in found
    }


def _is_in_layer(config: AdapterConfig, module: str) -> bool:
    """Whether layers_to_transform includes the module's layer."""
    wanted, patterns = config.layers_to_transform, config.layers_pattern or ()
    if wanted is None or wanted == ():
        return True
    names = [patterns] if isinstance(patterns, str) else patterns
    indices = [rf"(?:^|.*?\.){re.escape(name)}\.(\d+)\." for name in names] or [_FIRST_INDEX]
    index = next(filter(None, (re.match(index, module) for index in indices)), None)
    return index is not None and int(index[1]) in ((wanted,) if isinstance(wanted, int) else wanted)
