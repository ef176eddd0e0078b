"""Decides from adapter_config.json how an adapter is applied: stacked, merged, or not at all.

A method, or a field that is switched on, that `model_files.methods` does not list is refused by
name.
"""

import dataclasses
import warnings
from pathlib import Path
from typing import Any, NamedTuple

import peft
from peft import PeftConfig

from sway_gate.backends.base import error_text
from sway_gate.errors import AdapterError
from sway_gate.model_files.config import json_object
from sway_gate.model_files.methods import (
    MERGED,
    METHODS,
    NEUTRAL,
    STACKED,
    WITH_WEIGHTS,
    option,
)
from sway_gate.text import cut, one_line

_LABELS = {"olora": "OLoRA", "pissa": "PiSSA", "mica": "MiCA"}


class Method(NamedTuple):
    """How an adapter is applied, as far as its fields show. `config` is peft's.

    `is_low_rank`: factors contain the change of all adapted layers. `weights`: the options that let
    whole weights change as well, if the base has such weights. `name` includes the options that
    can prevent a stacked pass.
    """

    config: Any
    is_low_rank: bool
    weights: tuple[str, ...]
    name: str


def read(folder: Path) -> Method:
    """How to apply the adapter in `folder`. Raises AdapterError if it is not supported."""
    path = folder / "adapter_config.json"
    given = json_object(path)
    config = _config(path, given)
    kind = str(config.peft_type.value)
    merged, weights = [], []
    for name, value in _switched_on(path, given, config).items():
        how = option(kind, name, value)
        if how == MERGED:
            label = value if name == "init_lora_weights" else name
            merged.append(_LABELS.get(label, label))
        elif how == WITH_WEIGHTS:
            weights.append(name)
        elif how != STACKED:
            raise _unsupported(path, name, value, how)
    is_low_rank = METHODS[kind] == STACKED and not merged
    options = [*merged, *weights]
    name = f"{kind} with {' and '.join(options)}" if options else kind
    return Method(config, is_low_rank, tuple(weights), name)


def _config(path: Path, given: dict[str, Any]) -> Any:
    kind = given.get("peft_type", "LORA")
    how = METHODS.get(str(kind), f"peft {peft.__version__} or sway-gate does not know it")
    if how not in (STACKED, MERGED):
        raise _unsupported(path, "peft_type", kind, how)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return PeftConfig.from_pretrained(str(path.parent))
    except Exception as error:  # peft raises arbitrary exceptions on invalid files
        raise AdapterError(f"{path}: {error_text(error)}") from None


def _switched_on(path: Path, given: dict[str, Any], config: Any) -> dict[str, Any]:
    """The fields that differ from their defaults. Raises AdapterError if peft ignores one."""
    defaults = {field.name: field.default for field in dataclasses.fields(config)}
    found = {}
    for name, value in given.items():
        if not value or value in (defaults.get(name), "none") or name in NEUTRAL:
            continue
        if name not in defaults:
            why = f"peft {peft.__version__} does not know this field of {config.peft_type.value}"
            why += "; upgrade peft, or remove the field if the adapter has no use for it"
            raise _unsupported(path, name, value, why)
        found[name] = value
    return found


def _unsupported(path: Path, name: str, value: Any, why: str) -> AdapterError:
    return AdapterError(f"{path}: {name} {cut(one_line(repr(value)), 60)} is not supported: {why}")
