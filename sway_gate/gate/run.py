"""Runs the gate: returns a cached verdict, or evaluates the job and caches its verdict.

A cached verdict loads neither numpy nor torch.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from sway_gate import cache
from sway_gate.compare.inputs import probe_inputs, shared_inputs
from sway_gate.errors import AdapterError, CannotDecide
from sway_gate.gate.identity import suite_by_digest, verdict_key
from sway_gate.gate.resolve import Job, Options, prepare
from sway_gate.judge.composite import is_final
from sway_gate.model_files.hub import ADAPTER_CONFIG
from sway_gate.output import Progress, silent
from sway_gate.results import GateResult
from sway_gate.spec.schema import Spec
from sway_gate.static.base import LOCAL_NOTES, Base, base_findings
from sway_gate.static.config import read_config
from sway_gate.static.findings import finding_line
from sway_gate.static.layout import layout_faults
from sway_gate.text import cut, one_line

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
    return run_job(prepare(spec, options, progress), progress, base)


def run_job(job: Job, progress: Progress = silent, base: "OpenBase | None" = None) -> GateResult:
    """The verdict on a resolved spec. Raises SwayError if no verdict can be reached."""
    key = verdict_key(job) if job.cache else ""
    if key and not job.observe and (result := _stored(key)):
        check_layout(job)
        return msgspec.structs.replace(_located(job, result), cached=True)
    from sway_gate.gate.evaluate import evaluate

    with _panics_as_errors():
        result = evaluate(job, progress, base)
    if key and is_final(result.probes, has_budget=job.deadline is not None):
        cache.store_verdict(key, msgspec.json.encode(result))
    return _located(job, result)


@contextmanager
def _panics_as_errors() -> Iterator[None]:
    """Raise CannotDecide if a library in Rust panics. A panic is not an Exception."""
    try:
        yield
    except BaseException as error:
        if type(error).__name__ != "PanicException":
            raise
        text = cut(one_line(str(error)), 300)
        raise CannotDecide(
            f"the tokenizer stops with an internal error: {text}; "
            "its files are damaged, or its patterns are too slow: download them again"
        ) from None


def check_layout(job: Job) -> None:
    """Check what was trained except the values of tensors, for which the digest stands.

    Raises AdapterError if the files are broken.
    """
    if folders := job.folders:
        faults = layout_faults(folders.adapter, is_full=folders.is_full)
        if faults:
            raise AdapterError("\n".join(map(finding_line, faults)))


def _stored(key: str) -> GateResult | None:
    """The cached result; None if there is none of this version's form."""
    try:
        return msgspec.json.decode(cache.load_verdict(key) or b"", type=GateResult)
    except (ValueError, RecursionError):
        return None


def _located(job: Job, result: GateResult) -> GateResult:
    """`result` with the paths of this run, which are not cached."""
    notes, findings = (*job.spec.notes, *result.notes), result.findings
    if job.folders:
        adapter = job.folders.adapter
        if not job.folders.is_full:
            base = Base(job.spec.models.base.base, job.folders.base)
            notes += _base_notes(adapter, base)
        findings = tuple(
            msgspec.structs.replace(found, path=os.path.join(adapter, found.path))
            for found in findings
        )
    return msgspec.structs.replace(
        result,
        spec=job.spec.label,
        tier=job.tier,
        base=job.base,
        adapter=job.adapter,
        findings=findings,
        notes=notes,
        probe_inputs=probe_inputs(suite_by_digest(job)),
        shared_inputs=shared_inputs(job.spec, result.prompt_format),
    )


def _base_notes(adapter: Path, base: Base) -> tuple[str, ...]:
    """The static check's notes that depend on paths and branches of this machine."""
    config, _ = read_config(adapter / ADAPTER_CONFIG)
    findings = base_findings(adapter, config, base) if config else ()
    return tuple(found.message for found in findings if found.id in LOCAL_NOTES)
