"""Runs the gate: returns the cached verdict if there is one, else evaluates and caches it.

This module stays light: a cached verdict loads neither numpy nor torch.
"""

import os
from pathlib import PurePath

import msgspec

from sway_gate import cache
from sway_gate.gate.resolve import Job, Options, prepare, with_data
from sway_gate.output import Progress, silent
from sway_gate.results import GateResult, Verdict
from sway_gate.spec.probes import embedding_models
from sway_gate.spec.schema import Spec


def run_gate(spec: Spec, options: Options = Options(), progress: Progress = silent) -> GateResult:
    """The verdict on a spec. Raises SwayError, each with its exit code, where files or models are not to be had."""
    job = prepare(with_data(spec), options)
    key = cache.verdict_key(msgspec.to_builtins(_identity(job)._asdict())) if job.cache else ""
    if job.cache and not job.observe and (stored := cache.load_verdict(key)):
        return _as_named(job, msgspec.json.decode(stored, type=GateResult))
    from sway_gate.gate.evaluate import evaluate

    result = evaluate(job, progress)
    if job.cache and not any(probe.verdict is Verdict.ERROR for probe in result.probes):
        cache.store_verdict(key, msgspec.json.encode(result))
    return result


def _identity(job: Job) -> Job:
    """What the verdict depends on: contents by their digests, wherever they lie, so that another checkout finds it."""
    spec, replace = job.spec, msgspec.structs.replace
    digests = {
        job.base.path: job.base.digest,
        job.adapter.path: job.adapter.digest,
        **job.embedders,
    }

    def content(ref: str) -> str:
        return digests.get(ref, ref) if os.path.isdir(ref) else ref

    base, ft = spec.models.base, spec.models.ft
    models = replace(
        spec.models,
        base=replace(base, base=content(base.base), adapter=None),
        ft=replace(ft, base=content(ft.base), adapter=content(ft.adapter or "")),
    )
    suite = tuple(
        replace(probe, **{field: content(ref) for field, ref in embedding_models(probe).items()})
        for probe in spec.suite
    )
    # What `data` and `dlm_source` hold is among the sections by now.
    spec = replace(spec, models=models, suite=suite, data=(), dlm_source=None, label="", folder="")
    facts = replace(job.base, path=""), replace(job.adapter, path="")
    return job._replace(
        spec=spec, base=facts[0], adapter=facts[1], embedders={}, online=False, observe=None
    )


def _as_named(job: Job, stored: GateResult) -> GateResult:
    """A stored result under the names of this run: spec and files may have lain elsewhere."""
    before, now = PurePath(stored.adapter.path), PurePath(job.adapter.path)
    findings = tuple(
        msgspec.structs.replace(finding, path=str(now / PurePath(finding.path).relative_to(before)))
        if PurePath(finding.path).is_relative_to(before)
        else finding
        for finding in stored.findings
    )
    # Static findings quote the base's folder.
    notes = tuple(
        note.replace(repr(stored.base.path), repr(job.base.path)) for note in stored.notes
    )
    return msgspec.structs.replace(
        stored,
        spec=job.spec.label,
        base=job.base,
        adapter=job.adapter,
        findings=findings,
        notes=notes,
        cached=True,
    )
