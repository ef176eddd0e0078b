"""Reads a spec file into a `Spec`, and reports every mistake in it as file:line:column."""

import os
import sys
from typing import Final, get_args

import yaml
from msgspec import structs

from sway_gate.errors import SpecError
from sway_gate.model_files.hub import is_hub_id
from sway_gate.spec.paths import MAX_SHOWN, find, is_share, several
from sway_gate.spec.probes import KINDS, KindName, embedding_models
from sway_gate.spec.schema import (
    HIDDEN,
    SECTION_KINDS,
    ModelRef,
    Models,
    ProbeSpec,
    Section,
    SectionEntry,
    Spec,
    SpecFile,
)
from sway_gate.spec.yaml_reader import Family, Reader, compose, entries, shown

MAX_BYTES: Final = 4 * 2**20
_FAMILIES: Final[dict[type, Family]] = {
    ProbeSpec: Family(KINDS),
    SectionEntry: Family(SECTION_KINDS),
}


# -------------------------------------------------------------------------------------------------------- loading


def load_spec(path: str) -> Spec:
    """The spec at `path`, or from standard input for '-'. Raises SpecError with every mistake in it."""
    if path == "-":
        return parse_spec(
            _decoded(sys.stdin.buffer.read(MAX_BYTES + 1), "<stdin>"), "<stdin>", os.getcwd()
        )
    label = path if path.isprintable() else ascii(path)
    try:
        with open(path, "rb") as file:
            data = file.read(MAX_BYTES + 1)
    except (OSError, ValueError) as error:
        wrong = "is a folder; name the file in it" if os.path.isdir(path) else _reason(error)
        raise SpecError([f"{label}: {wrong}"]) from None
    return parse_spec(_decoded(data, label), label, os.path.dirname(os.path.abspath(path)))


def _reason(error: Exception) -> str:
    if isinstance(error, FileNotFoundError):
        return "no such file"
    return f"cannot be read: {error.strerror if isinstance(error, OSError) else 'its name holds a NUL character'}"


def _decoded(data: bytes, label: str) -> str:
    if len(data) > MAX_BYTES:
        raise SpecError([f"{label}: larger than {MAX_BYTES // 2**20} MiB; a spec is a small file"])
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise SpecError([f"{label}:{line}:1: not UTF-8 text; save the file as UTF-8"]) from None


def parse_spec(text: str, label: str, folder: str) -> Spec:
    """The spec in `text`; its relative paths start from `folder`. Raises SpecError with every mistake in it."""
    root = compose(text, label)
    reader = Reader(label, _FAMILIES, HIDDEN)
    file = reader.read(root, SpecFile)
    notes: list[str] = []
    refs = {id(ref): _located(reader, ref, folder, notes) for ref in reader.made(ModelRef)}
    for models in reader.made(Models):
        _check_bases(reader, models, refs[id(models.base)], refs[id(models.ft)], notes)
    _check_names(reader, root)
    _check_suite(reader)
    sections = _sections(reader)
    reader.finish()
    base, ft = refs[id(file.models.base)], refs[id(file.models.ft)]
    revision = base.revision or ft.revision
    return Spec(
        models=Models(
            base=structs.replace(base, revision=revision), ft=structs.replace(ft, revision=revision)
        ),
        defaults=file.defaults,
        suite=tuple(_with_embedder(probe, folder, notes) for probe in file.suite),
        data=tuple(find(path, folder, notes, hub=False)[0] for path in several(file.data)),
        dlm_source=file.dlm_source and find(file.dlm_source, folder, notes, hub=False)[0],
        sections=sections,
        control=several(file.control),
        label=label,
        folder=os.path.abspath(folder),
        notes=tuple(dict.fromkeys(notes)),
    )


def _check_names(reader: Reader, root: yaml.Node) -> None:
    """Names are unique, also among entries that are wrong in other ways."""
    suite = (
        entries(root)["suite"][1]
        if isinstance(root, yaml.MappingNode) and "suite" in entries(root)
        else None
    )
    first: dict[str, str] = {}
    for index, entry in enumerate(suite.value if isinstance(suite, yaml.SequenceNode) else ()):
        fields = entries(entry) if isinstance(entry, yaml.MappingNode) else {}
        kind, name = (fields[key][1].value if key in fields else None for key in ("kind", "name"))
        place = f"suite[{index}]" + (f" ({kind})" if kind in get_args(KindName) else "")
        if not name or not isinstance(name, str):
            continue
        where = first.setdefault(name, f"{place} in line {entry.start_mark.line + 1}")
        if not where.startswith(f"suite[{index}]"):
            reader.blame_node(
                fields["name"][1],
                place,
                "name",
                f"is {shown(name)}, as in {where}; it must be unique",
            )


def _check_suite(reader: Reader) -> None:
    """There is at most one calibration, and something to judge."""
    settings = [entry for entry in reader.made(ProbeSpec) if not entry.is_probe]
    for entry in settings[1:]:
        where = f"{reader.place(settings[0])} in line {settings[0].line}"
        reader.blame(entry, "kind", f"is {entry.kind!r}, as in {where}; it must be unique")
    for file in reader.made(SpecFile):
        judged = any(probe.enabled and probe.is_probe for probe in file.suite)
        if not judged and reader.is_whole("suite"):
            reader.blame(
                file,
                "suite",
                "must hold an enabled probe besides null_adapter, or nothing is judged",
            )


def _sections(reader: Reader) -> tuple[Section, ...]:
    first: dict[str, SectionEntry] = {}
    for entry in reader.made(SectionEntry):
        section = entry.section()
        other = first.setdefault(section.id, entry)
        if other is not entry:
            made = "" if entry.id else " (a hash of what it says)"
            reader.blame(
                entry,
                "id",
                f"is {shown(section.id)}{made}, as in {reader.place(other)}; it must be unique",
            )
    return tuple(entry.section() for entry in reader.made(SectionEntry))


# ---------------------------------------------------------------------------------------------------------- paths


def _check_bases(
    reader: Reader, models: Models, base: ModelRef, ft: ModelRef, notes: list[str]
) -> None:
    if base.base != ft.base:
        ours, theirs = shown(base.base, MAX_SHOWN), shown(ft.base, MAX_SHOWN)
        reader.blame(models.ft, "base", f"must be the base of models.base, {ours}, got {theirs}")
    if base.adapter is not None:
        notes.append("models.base.adapter is ignored: the base is the model without an adapter")


def _located(reader: Reader, ref: ModelRef, folder: str, notes: list[str]) -> ModelRef:
    """`ref` with its paths made absolute."""
    if ref.kind != "hf":
        return ref
    found: dict[str, str] = {}
    for field in ("base", "adapter"):
        if written := getattr(ref, field):
            found[field], wrong = find(written, folder, notes, hub=is_hub_id(written))
            if wrong:
                reader.blame(ref, field, wrong)
    return structs.replace(ref, **found)


def _with_embedder(probe: ProbeSpec, folder: str, notes: list[str]) -> ProbeSpec:
    """`probe` with absolute folders of embedding models; a missing folder is reported when it is loaded."""
    found = {
        field: find(model, folder, notes, hub=is_hub_id(model))[0]
        for field, model in embedding_models(probe).items()
        if not is_share(model)
    }
    return structs.replace(probe, **found)
