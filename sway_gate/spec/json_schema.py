"""The JSON Schema of sway.yaml, for editors."""

import json
import re
from collections.abc import Mapping
from typing import Any, Final

import msgspec

from sway_gate.spec.probes import KINDS, Item
from sway_gate.spec.schema import HIDDEN, SECTION_KINDS, DataMap, Pair, SpecFile

_REFERENCE: Final = re.compile(r'"#/\$defs/(\w+)"')


def json_schema() -> dict[str, Any]:
    """JSON Schema 2020-12 of a spec file. Only `load` checks rules across fields and files."""
    classes = (*KINDS.values(), *SECTION_KINDS.values())
    _, defs = msgspec.json.schema_components(
        (SpecFile, Pair, *classes), ref_template="#/$defs/{name}"
    )
    for cls in classes:
        defs[cls.__name__]["required"].insert(0, "kind")
    for title, definition in defs.items():
        for name in HIDDEN & definition.get("properties", {}).keys():
            if title != DataMap.__name__:
                del definition["properties"][name]
    defs["ScoreWeights"]["additionalProperties"] = False
    defs["Item"] = {"anyOf": [defs["Item"], _by_name(Item, defs["Item"])]}
    defs["ProbeSpec"] = {"oneOf": [{"$ref": f"#/$defs/{cls.__name__}"} for cls in KINDS.values()]}
    defs["SectionEntry"] = {
        "oneOf": [{"$ref": f"#/$defs/{cls.__name__}"} for cls in SECTION_KINDS.values()]
    }
    root = {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        **(top := defs.pop("SpecFile")),
        "$defs": {name: defs[name] for name in sorted(_used(top, defs))},
    }
    schema: dict[str, Any] = json.loads(json.dumps(root | {"title": "sway.yaml"}))
    return schema


def _by_name(cls: type[Item], listed: dict[str, Any]) -> dict[str, Any]:
    """The schema of a named tuple as a mapping, from its schema as a list."""
    fields = cls._fields
    return {
        "type": "object",
        "properties": dict(zip(fields, listed["prefixItems"], strict=True)),
        "required": [name for name in fields if name not in cls._field_defaults],
        "additionalProperties": False,
    }


def _used(top: Mapping[str, Any], defs: Mapping[str, Any]) -> set[str]:
    """The definitions that `top` refers to, directly or through others: hidden fields have more."""
    used: set[str] = set()
    found = _references(top)
    while new := found - used:
        used |= new
        found = {name for known in new for name in _references(defs[known])}
    return used


def _references(schema: Mapping[str, Any]) -> set[str]:
    return set(_REFERENCE.findall(json.dumps(schema)))
