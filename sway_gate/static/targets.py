"""Which modules peft adapts, by the fields of adapter_config.json."""

import re
from collections.abc import Callable, Sequence

from sway_gate.static.config import AdapterConfig
from sway_gate.static.patterns import matched

ALL_LINEAR = ("all-linear", "dummy-target-modules")
"""Values of target_modules that are not patterns."""
_FIRST_INDEX = re.compile(r".*?\.[^.]*\.(\d+)\.")

Match = Callable[[str], object]


def targeted(config: AdapterConfig, modules: Sequence[str]) -> list[str]:
    """The modules that peft adapts if the base has them, by the config's names and patterns.

    Raises `NotRun` for a pattern that is invalid or too expensive.
    """
    excluded, saved = _excluded(config, modules), _saved(config, modules)
    is_target, is_in_layer = _target(config, modules), _layer(config)
    return [
        module
        for module in modules
        if is_target(module)
        and is_in_layer(module)
        and not excluded(module)
        and not any(match(module) for match in saved)
    ]


def ends_with(module: str, names: Sequence[str]) -> bool:
    """Whether a name is the module's, or the end of it after a dot."""
    return any(module == name or module.endswith(f".{name}") for name in names)


def _target(config: AdapterConfig, modules: Sequence[str]) -> Match:
    targets = config.target_modules or ()
    if targets in ALL_LINEAR:
        return lambda _: True
    if isinstance(targets, str):
        return set(matched([targets], modules)[0]).__contains__
    return lambda module: ends_with(module, targets)


def _excluded(config: AdapterConfig, modules: Sequence[str]) -> Match:
    names = config.exclude_modules or ()
    if isinstance(names, str):
        return set(matched([names], modules)[0]).__contains__
    return lambda module: ends_with(module, names)


def _saved(config: AdapterConfig, modules: Sequence[str]) -> list[Match]:
    """peft does not adapt a module of modules_to_save, nor what it contains."""
    patterns = [rf"(.*\.)?{name}(\..*)?" for name in config.modules_to_save]
    return [set(names).__contains__ for names in matched(patterns, modules)]


def _layer(config: AdapterConfig) -> Match:
    """Whether layers_to_transform includes the module's layer."""
    wanted, patterns = config.layers_to_transform, config.layers_pattern or ()
    if wanted is None or wanted == ():
        return lambda _: True
    names = [patterns] if isinstance(patterns, str) else patterns
    indices = [re.compile(rf"(?:^|.*?\.){re.escape(name)}\.(\d+)\.") for name in names]
    layers = (wanted,) if isinstance(wanted, int) else wanted

    def is_in_layer(module: str) -> bool:
        found = (index.match(module) for index in indices or [_FIRST_INDEX])
        first = next(filter(None, found), None)
        return first is not None and int(first[1]) in layers

    return is_in_layer
