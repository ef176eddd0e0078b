"""Fields of dlm-sway's format without effect: a spec can set them, and a note reports them."""

from typing import Final

import yaml

from sway_gate.spec.schema import Defaults, ModelRef, ProbeSpec, Struct
from sway_gate.spec.yaml_nodes import entries
from sway_gate.spec.yaml_reader import Reader
from sway_gate.text import named

IGNORED: Final = {
    "endpoint": "no backend connects to a server",
    "concurrent_probes": "requests of all probes are batched together",
    "score_weights.baseline": "null adapters have no score",
    "top_k": "divergences cover the whole vocabulary",
    "legacy_stuffing": "there is only one kind of context",
    "pack": "only one pack is packaged",
    "corpus": "only one corpus is packaged",
}
"""Field -> why it has no effect."""


def ignored_note(reader: Reader) -> tuple[str, ...]:
    """A note that lists the fields without effect in the file; () if there are none."""
    structs: list[Struct] = [*reader.made(ModelRef), *reader.made(Defaults)]
    structs += reader.made(ProbeSpec)
    places = [
        f"{reader.place(struct)}: {field}"
        for struct in structs
        for field in _fields(reader.node(struct))
        if field in IGNORED
    ]
    return (f"fields without effect are ignored: {named(places)}",) if places else ()


def _fields(node: yaml.Node) -> list[str]:
    """The fields that a mapping sets, and the fields of its score_weights."""
    found = entries(node)
    weights = found["score_weights"][1] if "score_weights" in found else None
    inner = entries(weights) if isinstance(weights, yaml.MappingNode) else {}
    return [*found, *(f"score_weights.{name}" for name in inner)]
