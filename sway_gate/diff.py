"""Two adapters over one base, judged by one spec in one load of it.

The values are compared item by item, as both answer the same (see `sway_gate.compare`).
"""

import os

import msgspec

from sway_gate import gate, models
from sway_gate.progress import Progress, silent
from sway_gate.result import GateResult
from sway_gate.spec import Spec


def results(
    spec: Spec, a: str, b: str, options: gate.Options, progress: Progress = silent
) -> tuple[GateResult, GateResult]:
    """The results of `spec` with adapter `a` and with adapter `b` in place of its own (folders or hub ids). What is
    known of either is not measured again. Raises SwayError."""
    with models.one_base():
        first, second = (gate.run(with_adapter(spec, adapter), options, progress) for adapter in (a, b))
    return first, second


def with_adapter(spec: Spec, adapter: str) -> Spec:
    """The spec with another adapter: a folder, taken from the current one, or a hub id."""
    path = os.path.expanduser(adapter)
    named = os.path.abspath(path) if os.path.isdir(path) else adapter
    replace = msgspec.structs.replace
    fine_tuned = replace(spec.models.ft, adapter=named, adapter_revision=None)
    return replace(spec, models=replace(spec.models, ft=fine_tuned))
