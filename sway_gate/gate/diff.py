"""Judges two adapters by one spec, with one load of their base.

Both have the same inputs, so their values can be compared item by item
(`sway_gate.compare.results`).
"""

import os

import msgspec

from sway_gate.errors import UsageError
from sway_gate.gate.open import OpenBase
from sway_gate.gate.resolve import Options, model_folders
from sway_gate.gate.run import run_gate
from sway_gate.output import Progress, silent
from sway_gate.results import GateResult
from sway_gate.spec.schema import Spec


def diff_adapters(
    spec: Spec, a: str, b: str, options: Options, progress: Progress = silent
) -> tuple[GateResult, GateResult]:
    """The results of `spec` with its adapter replaced by `a` and by `b` (folders or hub ids).

    Raises SwayError.
    """
    specs = [with_adapter(spec, adapter) for adapter in (a, b)]
    for one in specs:
        model_folders(one, online=options.online)  # both exist before one of them is measured
    base = OpenBase()
    first, second = (run_gate(one, options, progress, base) for one in specs)
    return first, second


def with_adapter(spec: Spec, adapter: str) -> Spec:
    """The spec with another adapter: a folder, relative to the current one, or a hub id.

    Raises UsageError if its models are on a server, which serves its own adapters.
    """
    if spec.models.is_api:
        raise UsageError(
            f"{spec.label}: kind: api takes no adapter; give a spec of kind hf, or name the "
            "server's model in models.ft"
        )
    path = os.path.expanduser(adapter)
    named = os.path.abspath(path) if os.path.isdir(path) else adapter
    replace = msgspec.structs.replace
    base = spec.models.base.base
    fine_tuned = replace(spec.models.ft, base=base, adapter=named, adapter_revision=None)
    return replace(spec, models=replace(spec.models, ft=fine_tuned))
