"""The evaluation itself: static checks, then the plan of all probes, one measurement, one judgement."""

import time
from typing import NamedTuple

from sway_gate import cache
from sway_gate.backends import null_adapters
from sway_gate.backends.base import Backend
from sway_gate.compare.inputs import probe_inputs, shared_inputs
from sway_gate.engine import trace
from sway_gate.engine.observe import PassObserver
from sway_gate.engine.plan import (
    NullPlan,
    PlannedProbe,
    measurement_keys,
    null_plan,
    plan_notes,
    plan_probes,
)
from sway_gate.engine.run import run_plan
from sway_gate.errors import AdapterError
from sway_gate.gate.context import probe_context
from sway_gate.gate.open import Opened, open_models
from sway_gate.gate.resolve import Job, load_options, model_folders
from sway_gate.judge.composite import CATEGORIES, Composite, compose
from sway_gate.judge.probe import ProbeRun, judge_probe
from sway_gate.output import Progress
from sway_gate.probes.base import Context
from sway_gate.results import Category, Finding, GateResult, NullSummary, ProbeResult
from sway_gate.spec.probes import null_settings
from sway_gate.static.check import check_files


def evaluate(job: Job, progress: Progress) -> GateResult:
    """Raises AdapterError where the adapter's files are broken. A verdict by files alone needs no model."""
    started = time.perf_counter()
    observe = job.observe or _nobody
    observe(trace.Started(spec=job.spec.label, adapter=job.adapter.path, base=job.base.path))
    progress("static checks", 0, 0)
    folders = model_folders(job.spec)
    report = check_files(folders[1], job.spec.models.base.base) if folders else None
    findings, code = (report.findings, report.exit_code) if report else ((), 0)
    if code == 2:
        raise AdapterError("\n".join(_line(f) for f in findings if f.level == "broken"))
    calibrated = null_plan(job.spec)
    notes = job.spec.notes
    if load_options(job.spec).trust_remote_code:
        notes += ("warning: trust_remote_code is on: the base's own code ran on this machine",)
    outcome = _Outcome((), "", "", "", notes, {"static": time.perf_counter() - started})
    if code == 0:
        context = probe_context(job.spec, folders[0] if folders else None, job.online)
        opened = open_models(job.spec, folders, calibrated.settings, progress)
        planned = plan_probes(job.spec, context, calibrated, opened.capabilities)
        told = plan_notes(planned, calibrated, context, opened.capabilities)
        outcome = outcome._replace(notes=notes + opened.notes + told)
        outcome = _measure(job, planned, context, calibrated.settings, opened, progress, outcome)
    result = _gate_result(job, findings, calibrated, outcome, started)
    observe(trace.Ended(seconds=result.timing["total"], verdict=result.verdict))
    return result


def _nobody(event: trace.Event) -> None:
    """Observes nothing."""


class _Outcome(NamedTuple):
    """What came out of measuring; empty where the files alone decided."""

    results: tuple[ProbeResult, ...]
    device: str
    dtype: str
    determinism: str
    notes: tuple[str, ...]
    timing: dict[str, float]


def _measure(
    job: Job,
    planned: list[PlannedProbe],
    context: Context,
    settings: null_adapters.NullSettings,
    opened: Opened,
    progress: Progress,
    outcome: _Outcome,
) -> _Outcome:
    started = time.perf_counter()
    use_store = job.cache and null_settings(job.spec.suite).cache
    readings = cache.Readings.open(_readings_context(job, settings)) if use_store else None
    loaded: list[Backend] = []

    def backend() -> Backend:
        loaded.append(opened.load())
        return loaded[0]

    asked = {p.spec.name: (p.spec.kind, measurement_keys([p])) for p in planned if p.needs}
    watch = PassObserver(job.observe, asked) if job.observe else None
    load, store = (watch.loading(backend), watch.store(readings)) if watch else (backend, readings)
    measured = run_plan(measurement_keys(planned), load, store, progress)
    if watch:
        watch.tell_known()
    results = tuple(
        p.result
        or judge_probe(ProbeRun(p.spec, p.probe, context, p.requests, measured.answers), p.nulls)
        for p in planned
    )
    meta = (
        _meta(loaded[0], measured.notes)
        if loaded
        else readings.meta
        if readings is not None
        else {}
    )
    if readings is not None and loaded:
        readings.meta.update(meta)
        readings.save()
    notes = outcome.notes + tuple(filter(None, meta.get("notes", "").split("\n")))
    timing = outcome.timing | {"measure": time.perf_counter() - started}
    return _Outcome(
        results,
        meta.get("device", ""),
        meta.get("dtype", ""),
        meta.get("determinism", "best_effort"),
        notes,
        timing,
    )


def _meta(backend: Backend, notes: tuple[str, ...]) -> dict[str, str]:
    """How the readings were made, kept beside them for runs that need no backend."""
    facts = backend.facts
    unreached = backend.unreached()
    missed = f"{len(unreached)} adapted modules are never reached by a forward pass: {', '.join(unreached[:3])}"
    lines = (*facts.notes, *notes, *((missed,) if unreached else ()))
    return {
        "device": facts.device,
        "dtype": facts.dtype,
        "determinism": facts.determinism,
        "notes": "\n".join(lines),
    }


def _readings_context(job: Job, settings: null_adapters.NullSettings) -> str:
    """All that a reading depends on besides view and text. Not the number of nulls: draw i is the same among any."""
    return cache.context_key(
        {
            "base": job.base.digest,
            "adapter": job.adapter.digest,
            "nulls": [settings.kind, settings.init_scale, settings.seed_base],
            "seed": job.spec.defaults.seed,
            "dtype": load_options(job.spec).dtype,
            "differential": job.spec.defaults.differential,
            "platform": job.platform,
            "versions": job.versions,
        }
    )


def _gate_result(
    job: Job,
    findings: tuple[Finding, ...],
    calibrated: NullPlan,
    outcome: _Outcome,
    started: float,
) -> GateResult:
    if outcome.results:
        composite = compose(outcome.results, job.weights, job.threshold)
    else:
        categories = {name: Category(weight=job.weights[name]) for name in CATEGORIES}
        composite = Composite("fail", 0.0, categories)
    return GateResult(
        verdict=composite.verdict,
        exit_code=composite.exit_code,
        score=composite.score,
        threshold=job.threshold,
        categories=composite.categories,
        probes=outcome.results,
        spec=job.spec.label,
        adapter=job.adapter,
        base=job.base,
        nulls=_null_facts(calibrated) if any(result.n_null for result in outcome.results) else None,
        determinism=outcome.determinism,
        device=outcome.device,
        dtype=outcome.dtype,
        seed=job.spec.defaults.seed,
        versions=job.versions,
        timing=outcome.timing | {"total": time.perf_counter() - started},
        findings=tuple(f for f in findings if f.level != "note"),
        notes=outcome.notes + tuple(f.message for f in findings if f.level == "note"),
        asked=probe_inputs(job.spec),
        texts=shared_inputs(job.spec),
    )


def _null_facts(calibrated: NullPlan) -> NullSummary:
    settings = calibrated.settings
    return NullSummary(
        runs=settings.runs,
        null=settings.kind,
        seed_base=settings.seed_base,
        rank_multipliers=calibrated.multipliers,
    )


def _line(finding: Finding) -> str:
    return (
        f"{finding.path}: {finding.message}; {finding.remedy}"
        if finding.remedy
        else f"{finding.path}: {finding.message}"
    )
