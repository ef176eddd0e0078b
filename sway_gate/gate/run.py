"""Runs the gate: returns a cached verdict, or evaluates the job and caches its verdict.

A cached verdict loads neither numpy nor torch.
"""

import os
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from sway_gate import cache
from sway_gate.compare.inputs import probe_inputs, shared_inputs
from sway_gate.gate.identity import verdict_key
from sway_gate.gate.resolve import Job, Options, prepare
from sway_gate.model_files.hub import ADAPTER_CONFIG
from sway_gate.output import Progress, silent
from sway_gate.results import GateResult, Verdict
from sway_gate.spec.schema import Spec
from sway_gate.static.config import BASE_OTHER_PATH, base_findings, read_config

if TYPE_CHECKING:
    from sway_gate.gate.open import OpenBase


def run_gate(
    spec: Spec,
    options: Options = Options(),
    progress: Progress = silent,
    base: "OpenBase | None" = None,
) -> GateResult:
    """The verdict on a spec. `base` keeps the base model loaded for further runs.

    Raises SwayError if no verdict can be reached.
    """
    return run_job(prepare(spec, options), progress, base)


def run_job(job: Job, progress: Progress = silent, base: "OpenBase | None" = None) -> GateResult:
    """The verdict on a resolved spec. Raises SwayError if no verdict can be reached."""
    key = verdict_key(job) if job.cache else ""
    if key and not job.observe and (stored := cache.load_verdict(key)):
        result = msgspec.json.decode(stored, type=GateResult)
        return msgspec.structs.replace(_located(job, result), cached=True)
    from sway_gate.gate.evaluate import evaluate

    result = evaluate(job, progress, base)
    if key and not any(probe.verdict is Verdict.ERROR for probe in result.probes):
        cache.store_verdict(key, msgspec.json.encode(result))
    return _located(job, result)


def _located(job: Job, result: GateResult) -> GateResult:
    """`result` with the paths of this run, which are not cached."""
    notes, findings = (*job.spec.notes, *result.notes), result.findings
    if job.folders:
        adapter = job.folders.adapter
        if not job.folders.is_full:
            notes += _base_notes(adapter / ADAPTER_CONFIG, job.spec.models.base.base)
        findings = tuple(
            msgspec.structs.replace(found, path=os.path.join(adapter, found.path))
            for found in findings
        )
    return msgspec.structs.replace(
        result,
        spec=job.spec.label,
        base=job.base,
        adapter=job.adapter,
        findings=findings,
        notes=notes,
        probe_inputs=probe_inputs(job.spec),
        shared_inputs=shared_inputs(job.spec),
    )


def _base_notes(path: Path, base: str) -> tuple[str, ...]:
    """The static check's notes that quote the paths of bases."""
    config, _ = read_config(path)
    named = config.base_model_name_or_path if config else None
    return tuple(
        found.message for found in base_findings(path, named, base) if found.id == BASE_OTHER_PATH
    )
