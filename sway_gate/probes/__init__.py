"""The registry of probes: kind -> module."""

from importlib import import_module
from typing import Any

from sway_gate.probes.base import Probe
from sway_gate.spec.probes import KINDS

TABLE = {kind: f"sway_gate.probes.{kind}" for kind in KINDS}


def is_known(kind: str) -> bool:
    """Whether `kind` is a probe of this version."""
    return kind in KINDS and KINDS[kind].is_probe


def module(kind: str) -> Probe:
    """The probe module of a kind."""
    found: Any = import_module(TABLE[kind])
    probe: Probe = found
    return probe
