"""Waivers of a spec: from its field `waivers`, and from the file WAIVERS in its folder."""

import os
from collections.abc import Sequence
from typing import Final

import yaml
from msgspec import structs

from sway_gate.errors import SpecError
from sway_gate.files import not_read, read_regular
from sway_gate.spec.decode import MAX_BYTES, decoded
from sway_gate.spec.schema import Spec, Struct, Waiver
from sway_gate.spec.yaml_nodes import compose, entries, shown
from sway_gate.spec.yaml_reader import Reader, suggestion

WAIVERS: Final = ".sway-waivers.yaml"


class WaiverFile(Struct, frozen=True, kw_only=True):
    """The file WAIVERS."""

    waivers: tuple[Waiver, ...]


def waivers_file(spec: str) -> str:
    """The path of the file WAIVERS in the folder of a spec, whether or not it exists."""
    return os.path.join(os.path.dirname(spec), WAIVERS)


def with_waivers_file(spec: Spec) -> Spec:
    """`spec` with the waivers of the file WAIVERS. Raises SpecError with every mistake in it."""
    path = waivers_file(spec.label)
    try:
        data = read_regular(os.path.join(spec.folder, WAIVERS), MAX_BYTES + 1)
    except FileNotFoundError:
        return spec
    except OSError as error:
        raise SpecError([f"{path}: {not_read(error)}"]) from None
    root = compose(decoded(data, path), path)
    if not isinstance(root, yaml.MappingNode) or "waivers" not in entries(root):
        # Without a quotation: another file may contain secrets.
        raise SpecError([f"{path}: not a file of waivers: needs the field waivers"])
    reader = Reader(path, {})
    file = reader.read(root, WaiverFile)
    names = [probe.name for probe in spec.suite if probe.is_probe]
    check_waivers(reader, names, spec.label, [waiver.probe for waiver in spec.waivers])
    reader.finish()
    return structs.replace(spec, waivers=(*spec.waivers, *file.waivers))


def check_waivers(
    reader: Reader, probes: Sequence[str], label: str, waived: Sequence[str] = ()
) -> None:
    """Note each waiver that belongs to none of `probes`, or to a probe that is already waived."""
    seen = set(waived)
    for waiver in reader.made(Waiver):
        name = waiver.probe
        if name not in probes:
            hint = suggestion(name, probes)
            reader.blame(waiver, "probe", f"{shown(name)} is not a probe of {label}; {hint}")
        elif name in seen:
            reader.blame(waiver, "probe", f"must be waived only once, got {shown(name)} again")
        seen.add(name)
