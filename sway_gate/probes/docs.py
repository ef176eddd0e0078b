"""The documentation of the probes, read from the sources of their modules without an import."""

import ast
import json
import re
import textwrap
from collections.abc import Iterator, Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NamedTuple

from sway_gate.probes import TABLE
from sway_gate.spec.json_schema import json_schema
from sway_gate.spec.probes import KINDS

_WIDTH = 80


class Field(NamedTuple):
    """A field of a spec entry: its name, and its type and default as text."""

    name: str
    takes: str
    default: str


class ProbeDoc(NamedTuple):
    """A kind of probe, its category and its module's docstring."""

    kind: str
    category: str
    text: str

    @property
    def question(self) -> str:
        return self.text.partition("\n")[0]


def probe_doc(kind: str) -> ProbeDoc:
    """The documentation of `kind`."""
    tree = _source(TABLE[kind])
    return ProbeDoc(kind, _category(tree), ast.get_docstring(tree) or "")


def _source(module: str) -> ast.Module:
    found = find_spec(module)
    if found is None or found.origin is None:
        raise FileNotFoundError(f"the source of {module} is missing; reinstall sway-gate")
    return ast.parse(Path(found.origin).read_text(encoding="utf-8"))


def _category(tree: ast.Module) -> str:
    """The category in `KIND = Kind(category="…", …)`; "baseline" for other entries."""
    for node in tree.body:
        if isinstance(node, ast.Assign) and isinstance(node.value, ast.Call):
            for argument in node.value.keywords:
                if argument.arg == "category" and isinstance(argument.value, ast.Constant):
                    return str(argument.value.value)
    return "baseline"


def page(kind: str) -> str:
    """The docstring and the fields of `kind`, 80 columns wide."""
    doc = probe_doc(kind)
    listed = [_wrapped(f"  {f.name}: {f.takes}; {f.default}", " " * 6) for f in fields(kind)]
    return "\n".join(
        [f"{kind} ({doc.category})", "", _reflowed(doc.text.strip()), "", "Fields", *listed, ""]
    )


def _reflowed(text: str) -> str:
    """Wrap paragraphs and list items again; lines indented by four, such as formulas, stay."""
    lines = re.sub(r"(?<!\n)\n(?!\n| {4}|- ) *", " ", text).splitlines()
    return "\n".join(
        line if line.startswith(" " * 4) else _wrapped(line, "  " if line.startswith("- ") else "")
        for line in lines
    )


def _wrapped(text: str, hang: str) -> str:
    return textwrap.fill(
        text, _WIDTH, subsequent_indent=hang, break_long_words=False, break_on_hyphens=False
    )


def overview() -> str:
    """One line per kind: name, category, question."""
    docs = [probe_doc(kind) for kind in KINDS]
    widths = max(len(doc.kind) for doc in docs), max(len(doc.category) for doc in docs)
    return "".join(
        f"{doc.kind:{widths[0]}}  {doc.category:{widths[1]}}  {doc.question}\n" for doc in docs
    )


def fields(kind: str) -> Iterator[Field]:
    """The fields of an entry of `kind` except `kind`, from the definitions of the spec."""
    definitions = json_schema()["$defs"]
    every = described(definitions[KINDS[kind].__name__], definitions)
    return (field for field in every if field.name != "kind")


def described(definition: Mapping[str, Any], definitions: Mapping[str, Any]) -> Iterator[Field]:
    """The fields of an object in a JSON Schema; references point to `definitions`."""
    for name, schema in definition["properties"].items():
        required = name in definition.get("required", ())
        default = "required" if required else f"default {_shown(schema.get('default'))}"
        yield Field(name, _words(schema, definitions), default)


def _shown(value: object) -> str:
    return "none" if value is None else json.dumps(value, ensure_ascii=False)


def _words(schema: Mapping[str, Any], definitions: Mapping[str, Any]) -> str:
    """A JSON Schema as short text: "number, 0 to 1", "list of text", "js or kl"."""
    if reference := schema.get("$ref"):
        name = reference.rpartition("/")[2]
        if definitions[name].get("type") == "object" or "oneOf" in definitions[name]:
            return re.sub(r"(?<=[a-z])(?=[A-Z])", " ", name).lower()
        return _words(definitions[name], definitions)
    if options := schema.get("anyOf"):
        return ", or ".join(_words(option, definitions) for option in options)
    if allowed := schema.get("enum"):
        return " or ".join(map(str, allowed))
    kind = str(schema.get("type", "anything"))
    items = schema.get("items") or schema.get("prefixItems", [{}])[0]
    if kind == "array":
        return f"list of {_words(items, definitions)}"
    return {"string": "text", "boolean": "true or false", "null": "none"}.get(kind, kind) + _limits(
        schema
    )


def _limits(schema: Mapping[str, Any]) -> str:
    low, high = schema.get("minimum"), schema.get("maximum")
    if low is not None and high is not None:
        return f", {low} to {high}"
    if low is not None:
        return f", {low} or more"
    above = schema.get("exclusiveMinimum")
    return f", more than {above}" if above is not None else ""
