"""Addresses of the documentation for what a report states."""

from typing import Final

from sway_gate import probes
from sway_gate.judge.diagnosis import HEALTHY, NO_FAULT, TABLE, UNDECIDED
from sway_gate.project import DOCS

FINDINGS: Final = f"{DOCS}/troubleshooting.md#the-adapters-files"


def topic(kind: str) -> str:
    """What `sway explain` calls a kind of probe; "" for an unknown kind."""
    return kind if probes.is_known(kind) else ""


def probe_page(kind: str) -> str:
    """The page of a kind of probe; of an unknown kind, the page that explains reports."""
    return f"{DOCS}/probes/{kind}.md" if probes.is_known(kind) else f"{DOCS}/reading.md"


def diagnosis_page(name: str) -> str:
    """The section of a diagnosis of this package; "" for another name."""
    known = {entry.name for entry in (*TABLE.values(), HEALTHY, NO_FAULT, UNDECIDED)}
    anchor = name.replace(",", "").replace(" ", "-")
    return f"{DOCS}/diagnoses.md#{anchor}" if name in known else ""
