"""Waivers of a spec: from its field `waivers`, and from the file WAIVERS in its folder."""

import os
from collections.abc import Sequence
from typing import Final

import yaml
from msgspec import structs

from sway_gate.errors import SpecError
from sway_gate.files import not_read, read_regular
from sway_gate.spec import WAIVERS
from sway_gate.spec.decode import MAX_BYTES, decoded
from sway_gate.spec.schema import Spec, Struct, Waiver
from sway_gate.spec.yaml_nodes import compose, entries, shown
from sway_gate.spec.yaml_reader import Reader, suggestion

_REMEDY: Final = "list what is waived under `waivers:`, or remove the file"


class WaiverFile(Struct, frozen=True, kw_only=True):
    """The file WAIVERS."""

    waivers: tuple[Waiver, ...]


def waivers_file(spec: str) -> str:
    """The path of the file WAIVERS in the folder of a spec, whether or not it exists."""
    return os.path.join(os.path.dirname(spec), WAIVERS)


def with_waivers_file(spec: Spec) -> Spec:
    """`spec` with the waivers of the file WAIVERS. Raises SpecError with every mistake in it."""
    path = waivers_file(spec.label)
    reader, found = _read(os.path.join(spec.folder, WAIVERS), path)
    names = [probe.name for probe in spec.suite if probe.is_probe]
    check_waivers(reader, names, spec.label, spec.waivers)
    reader.finish()
    return structs.replace(spec, waivers=(*spec.waivers, *found))


def file_waivers() -> tuple[Waiver, ...]:
    """The waivers in the current folder's file WAIVERS.

    Raises SpecError with every mistake in it. Whether its probes exist is not known here.
    """
    reader, found = _read(WAIVERS, WAIVERS)
    reader.finish()
    return found


def _read(file: str, path: str) -> tuple[Reader, tuple[Waiver, ...]]:
    """The reader of the file, which messages name `path`, and its waivers."""
    reader = Reader(path, {})
    try:
        data = read_regular(file, MAX_BYTES + 1)
    except FileNotFoundError:
        return reader, ()
    except OSError as error:
        raise SpecError([f"{path}: {not_read(error)}"]) from None
    root = compose(decoded(data, path), path, _REMEDY)
    if not isinstance(root, yaml.MappingNode) or "waivers" not in entries(root):
        # Without a quotation: another file may contain secrets.
        raise SpecError([f"{path}: not a file of waivers: needs the field waivers; {_REMEDY}"])
    return reader, reader.read(root, WaiverFile).waivers


def check_waivers(
    reader: Reader, probes: Sequence[str], label: str, others: Sequence[Waiver] = ()
) -> None:
    """Note each waiver that belongs to none of `probes`, or to something that is already waived."""
    seen = {waiver.target for waiver in others}
    for waiver in reader.made(Waiver):
        field, name = ("probe", waiver.probe) if waiver.probe else ("finding", waiver.finding or "")
        if waiver.probe and name not in probes:
            hint = suggestion(name, probes)
            reader.blame(waiver, field, f"{shown(name)} is not a probe of {label}; {hint}")
        elif waiver.target in seen:
            reader.blame(waiver, field, f"must be waived only once, got {shown(name)} again")
        seen.add(waiver.target)
