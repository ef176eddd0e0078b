"""Digests of what was asked: where those of two results agree, their probes measured the same items."""

import hashlib
import json

import msgspec

from sway_gate.spec import NullAdapter, Spec

# What a probe is called, where it stands and how much it counts change nothing of what it measures.
_OUTSIDE = ("name", "line", "weight", "enabled")


def of_probes(spec: Spec) -> dict[str, str]:
    """By name of the probe, of its kind and its own fields; null adapters are told elsewhere."""
    return {
        probe.name: _digest({k: v for k, v in msgspec.to_builtins(probe).items() if k not in _OUTSIDE})
        for probe in spec.suite
        if not isinstance(probe, NullAdapter)
    }


def of_texts(spec: Spec) -> str:
    """Of what all probes share: sections, control prose, and which prompts go through a template."""
    return _digest(msgspec.to_builtins([spec.sections, spec.control, spec.defaults.chat_template]))


def _digest(value: object) -> str:
    """16 hexadecimal digits: of one user's suites, no two meet."""
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()[:16]
