"""Fields of dlm-sway's format without effect: a spec can set them, and a note reports them."""

from typing import Final

import yaml

from sway_gate.spec.schema import Defaults, ModelRef, ProbeSpec, Struct
from sway_gate.spec.yaml_nodes import entries
from sway_gate.spec.yaml_reader import Reader
from sway_gate.text import named

IGNORED: Final = {
    "endpoint": "only kind: api connects to a server",
    "concurrent_probes": "requests of all probes are batched together",
    "score_weights.baseline": "null adapters have no score",
    "top_k": "divergences cover the whole vocabulary",
    "legacy_stuffing": "there is only one kind of context",
    "pack": "only one pack is packaged",
}
"""Field -> why it has no effect."""


def ignored_note(reader: Reader) -> tuple[str, ...]:
    """A note that lists the fields without effect in the file; () if there are none."""
    structs: list[Struct] = [*reader.made(ModelRef), *reader.made(Defaults)]
    structs += reader.made(ProbeSpec)
    ignored: list[str] = []
    for struct in structs:
        has_server = isinstance(struct, ModelRef) and struct.kind == "api"
        unused = IGNORED.keys() - ({"endpoint"} if has_server else set())
        fields = [field for field in _fields(reader.node(struct)) if field in unused]
        ignored += [f"{reader.place(struct)}: {field}" for field in fields]
    return (f"fields without effect are ignored: {named(ignored)}",) if ignored else ()


def _fields(node: yaml.Node) -> list[str]:
    """The fields that a mapping sets, and the fields of its score_weights."""
    fields = []
    for name, (_, value) in entries(node).items():
        fields.append(name)
        if name == "score_weights" and isinstance(value, yaml.MappingNode):
            fields += [f"score_weights.{weight}" for weight in entries(value)]
    return fields
