"""Addresses of the documentation for what a report states."""

import re
from typing import Final

from sway_gate.project import DOCS
from sway_gate.spec.probes import KINDS

FINDINGS: Final = f"{DOCS}/troubleshooting.md#the-adapters-files"

BUDGET: Final = f"{DOCS}/reading.md#tiers-and-time-budgets"


def topic(kind: str) -> str:
    """What `sway explain` calls a kind of probe; "" for an unknown kind."""
    return kind if kind in KINDS else ""


def probe_page(kind: str) -> str:
    """The page of a kind of probe; of an unknown kind, the page that explains reports."""
    return f"{DOCS}/probes/{kind}.md" if kind in KINDS else f"{DOCS}/reading.md"


def diagnosis_page(name: str) -> str:
    """The section of a diagnosis; "" for a name that is not plain words."""
    if not re.fullmatch(r"[a-z]+(,? [a-z]+)*", name):
        return ""
    return f"{DOCS}/diagnoses.md#{name.replace(',', '').replace(' ', '-')}"
