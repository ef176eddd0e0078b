"""Loads a spec file into a `Spec` and reports every mistake as file:line:column."""

import os
import sys
from typing import Final, get_args

import yaml
from msgspec import structs

from sway_gate.errors import SpecError
from sway_gate.files import not_read, read_regular
from sway_gate.model_files.hub import is_hub_id
from sway_gate.spec.decode import MAX_BYTES, decoded
from sway_gate.spec.ignored import ignored_note
from sway_gate.spec.other import not_a_spec
from sway_gate.spec.paths import MAX_SHOWN, find, is_share, several
from sway_gate.spec.probes import KINDS, KindName, embedding_models
from sway_gate.spec.repeated import repeated_notes, without_repeated
from sway_gate.spec.schema import (
    HIDDEN,
    OF_FILES,
    SECTION_KINDS,
    ModelRef,
    Models,
    ProbeSpec,
    Section,
    SectionEntry,
    Spec,
    SpecFile,
)
from sway_gate.spec.waivers import check_waivers, with_waivers_file
from sway_gate.spec.yaml_nodes import compose, entries, position, shown
from sway_gate.spec.yaml_reader import Families, Reader

_FAMILIES: Final[Families] = {ProbeSpec: KINDS, SectionEntry: SECTION_KINDS}


def load_spec(path: str, adapter: str | None = None) -> Spec:
    """The spec at `path`, '-' for standard input, with the waivers in its folder.

    `adapter` replaces models.ft.adapter.

    Raises SpecError with every mistake.
    """
    if path == "-":
        text = decoded(sys.stdin.buffer.read(MAX_BYTES + 1), "<stdin>")
        return with_waivers_file(parse_spec(text, "<stdin>", os.getcwd(), adapter))
    text, label = read_text(path)
    folder = os.path.dirname(os.path.abspath(path))
    return with_waivers_file(parse_spec(text, label, folder, adapter))


def read_text(path: str) -> tuple[str, str]:
    """The text of a spec file, and its name in messages. Raises SpecError."""
    label = path if path.isprintable() else ascii(path)
    if wrong := not_a_spec(path):
        raise SpecError([f"{label}: {wrong}"])
    try:
        data = read_regular(path, MAX_BYTES + 1)
    except OSError as error:
        raise SpecError([f"{label}: {not_read(error)}"]) from None
    return decoded(data, label), label


def parse_spec(text: str, label: str, folder: str, adapter: str | None = None) -> Spec:
    """The spec in `text`, with paths relative to `folder`; `adapter` replaces models.ft.adapter.

    Raises SpecError with every mistake.
    """
    root = compose(text, label)
    _refuse_other(root, label)
    reader = Reader(label, _FAMILIES, HIDDEN)
    file = reader.read(root, SpecFile)
    notes: list[str] = []
    refs = {id(ref): _located(reader, ref, folder, notes, adapter) for ref in reader.made(ModelRef)}
    for models in reader.made(Models):
        _check_bases(reader, models, refs[id(models.base)], refs[id(models.ft)], notes)
        if adapter and (models.ft.adapter is None or models.ft.kind not in OF_FILES):
            reader.blame(models, "ft", "must have an adapter of kind hf or mlx, to replace it")
    _check_names(reader, root)
    _check_suite(reader)
    if reader.made(SpecFile) and reader.is_whole("suite"):
        check_waivers(reader, [p.name for p in file.suite if p.is_probe], label)
    sections = _sections(reader)
    reader.finish()
    notes += ignored_note(reader)
    for probe in file.suite:
        notes += repeated_notes(probe, reader.place(probe))
    base, ft = refs[id(file.models.base)], refs[id(file.models.ft)]
    return Spec(
        models=_completed(Models(base=base, ft=ft)),
        defaults=file.defaults,
        suite=tuple(_with_embedder(without_repeated(probe), folder, notes) for probe in file.suite),
        data=tuple(find(path, folder, notes, hub=False)[0] for path in several(file.data)),
        data_map=file.data_map,
        dlm_source=file.dlm_source and find(file.dlm_source, folder, notes, hub=False)[0],
        sections=sections,
        control=several(file.control),
        held_out=tuple(find(path, folder, notes, hub=False)[0] for path in several(file.held_out)),
        waivers=file.waivers,
        label=label,
        folder=os.path.abspath(folder),
        notes=tuple(dict.fromkeys(notes)),
    )


def _refuse_other(root: yaml.Node, label: str) -> None:
    """Refuse a file that is not a spec without a quotation: it may contain secrets."""
    fields = entries(root) if isinstance(root, yaml.MappingNode) else {"": ()}
    if fields and not fields.keys() & {"models", "suite"}:
        line, column = position(root)
        if "schema_version" in fields:
            raise SpecError([f"{label}: is a JSON report; show it: sway report {label}"])
        raise SpecError(
            [
                f"{label}:{line}:{column}: not a spec: needs the fields models and suite; "
                "create one with `sway init`"
            ]
        )


def _completed(models: Models) -> Models:
    """The models, with what the fine-tuned one has from the base."""
    if models.is_full:
        return models
    if models.is_api:
        base, ft = models.base, models.ft
        if ft.endpoint is None:
            key = ft.api_key_env or base.api_key_env
            ft = structs.replace(ft, endpoint=base.endpoint, api_key_env=key)
        tokenizer = ft.tokenizer or base.tokenizer
        return Models(base=base, ft=structs.replace(ft, adapter=None, tokenizer=tokenizer))
    revision = models.base.revision or models.ft.revision
    return Models(
        base=structs.replace(models.base, revision=revision),
        ft=structs.replace(models.ft, revision=revision),
    )


def _check_names(reader: Reader, root: yaml.Node) -> None:
    """Check that names are unique, also among entries with other mistakes."""
    first: dict[str, str] = {}
    for i, entry in enumerate(_suite_nodes(root)):
        fields = entries(entry) if isinstance(entry, yaml.MappingNode) else {}
        if "name" not in fields:
            continue
        _, name = fields["name"]
        if not isinstance(name, yaml.ScalarNode) or not name.value:
            continue
        place = f"suite[{i}]"
        if "kind" in fields and fields["kind"][1].value in get_args(KindName):
            place += f" ({fields['kind'][1].value})"
        if other := first.get(name.value):
            text = f"must be unique, but {shown(name.value)} is also the name of {other}"
            reader.blame_node(name, place, "name", text)
        else:
            first[name.value] = f"{place} in line {entry.start_mark.line + 1}"


def _suite_nodes(root: yaml.Node) -> list[yaml.Node]:
    """The nodes of the suite's entries; [] if the file has no list of entries."""
    if not isinstance(root, yaml.MappingNode) or "suite" not in entries(root):
        return []
    _, suite = entries(root)["suite"]
    return suite.value if isinstance(suite, yaml.SequenceNode) else []


def _check_suite(reader: Reader) -> None:
    """Check that there is at most one null_adapter entry, and at least one probe with a weight."""
    settings = [entry for entry in reader.made(ProbeSpec) if not entry.is_probe]
    for entry in settings[1:]:
        where = f"{reader.place(settings[0])} in line {settings[0].line}"
        reader.blame(entry, "kind", f"must be {entry.kind!r} only once; the first is {where}")
    for file in reader.made(SpecFile):
        weights = [probe.weight for probe in file.suite if probe.enabled and probe.is_probe]
        if not any(weights) and reader.is_whole("suite"):
            need = "with a weight above 0" if weights else "other than null_adapter"
            reader.blame(file, "suite", f"must contain at least one enabled probe {need}")


def _sections(reader: Reader) -> tuple[Section, ...]:
    first: dict[str, SectionEntry] = {}
    for entry in reader.made(SectionEntry):
        section = entry.section()
        other = first.setdefault(section.id, entry)
        if other is not entry:
            name = shown(section.id) + ("" if entry.id else " (the hash of its content)")
            place = reader.place(other)
            reader.blame(entry, "id", f"must be unique, but {name} is also the id of {place}")
    return tuple(entry.section() for entry in reader.made(SectionEntry))


def _check_bases(
    reader: Reader, models: Models, base: ModelRef, ft: ModelRef, notes: list[str]
) -> None:
    if models.is_api:
        is_one_server = ft.endpoint in (None, base.endpoint)
        if base.base == ft.base and is_one_server:
            reader.blame(models, "ft", "must be another model, or on another endpoint")
        if ft.adapter is not None:
            notes.append("models.ft.adapter is ignored: base is the name of a model on the server")
    elif models.is_full:
        if base.base == ft.base:
            text = "must have an adapter, or another base: a fine-tuned model"
            reader.blame(models, "ft", text)
    elif base.base != ft.base:
        ours, theirs = shown(base.base, MAX_SHOWN), shown(ft.base, MAX_SHOWN)
        reader.blame(models.ft, "base", f"must be the same as in models.base, {ours}, got {theirs}")
    if base.adapter is not None:
        notes.append("models.base.adapter is ignored: the base is measured without an adapter")
    for field in () if models.is_api else ("dtype", "device", "quantization"):
        ours, theirs = getattr(base, field), getattr(ft, field)
        if ours != theirs and not {ours, theirs} & {"auto", None}:
            notes.append(
                f"models.base.{field} {ours} is ignored: models.ft.{field} {theirs} is used"
            )


def _located(
    reader: Reader, made: ModelRef, folder: str, notes: list[str], adapter: str | None
) -> ModelRef:
    """`made` with absolute paths; `adapter`, relative to the current folder, replaces its own."""
    ref = made
    found: dict[str, str] = {}
    if ref.tokenizer:
        found["tokenizer"], wrong = find(ref.tokenizer, folder, notes, hub=is_hub_id(ref.tokenizer))
        if wrong:
            reader.blame(made, "tokenizer", wrong)
    if ref.kind not in OF_FILES:
        return structs.replace(ref, **found)
    if adapter and ref.adapter:
        ref = structs.replace(ref, adapter=adapter, adapter_revision=None)
    for field, start in (("base", folder), ("adapter", os.getcwd() if adapter else folder)):
        if written := getattr(ref, field):
            found[field], wrong = find(written, start, notes, hub=is_hub_id(written))
            if wrong:
                reader.blame(made, field, wrong)
    return structs.replace(ref, **found)


def _with_embedder(probe: ProbeSpec, folder: str, notes: list[str]) -> ProbeSpec:
    """The probe with the absolute paths of its embedding models that are folders."""
    found = {
        field: find(model, folder, notes, hub=is_hub_id(model))[0]
        for field, model in embedding_models(probe).items()
        if not is_share(model)
    }
    return structs.replace(probe, **found)
