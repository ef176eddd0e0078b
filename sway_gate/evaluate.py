"""The evaluation itself: static checks, then the plan of all probes, one measurement, one judgement."""

import time
from pathlib import Path
from typing import NamedTuple

from sway_gate import base, cache, engine, estimate, fingerprint, gate, judge, nulls, planning, static, trace
from sway_gate.backends import Backend
from sway_gate.embedding import SentenceEmbedder
from sway_gate.errors import AdapterError, UsageError
from sway_gate.models import Opened, open_models
from sway_gate.planning import Planned
from sway_gate.probes import Context
from sway_gate.progress import Progress
from sway_gate.result import Category, Finding, GateResult, NullFacts, ProbeResult
from sway_gate.spec import Spec
from sway_gate.watch import Watch


def evaluate(job: gate.Job, progress: Progress) -> GateResult:
    """Raises AdapterError where the adapter's files are broken. A verdict by files alone needs no model."""
    started = time.perf_counter()
    observe = job.observe or _nobody
    observe(trace.Started(spec=job.spec.label, adapter=job.adapter.path, base=job.base.path))
    progress("static checks", 0, 0)
    folders = gate.folders(job.spec)
    report = static.check(folders[1], job.spec.models.base.base) if folders else None
    findings, code = (report.findings, report.exit_code) if report else ((), 0)
    if code == 2:
        raise AdapterError("\n".join(_line(f) for f in findings if f.level == "broken"))
    calibrated = planning.calibration(job.spec)
    notes = job.spec.notes
    if gate.loading(job.spec).trust_remote_code:
        notes += ("warning: trust_remote_code is on: the base's own code ran on this machine",)
    outcome = _Outcome((), "", "", "", notes, {"static": time.perf_counter() - started})
    if code == 0:
        context = probe_context(job.spec, folders[0] if folders else None, job.online)
        opened = open_models(job.spec, folders, calibrated.settings, progress)
        planned = planning.plan(job.spec, context, calibrated, opened.capabilities)
        told = planning.notes(planned, calibrated, context, opened.capabilities)
        outcome = outcome._replace(notes=notes + opened.notes + told)
        outcome = _measure(job, planned, context, calibrated.settings, opened, progress, outcome)
    result = _result(job, findings, calibrated, outcome, started)
    observe(trace.Ended(seconds=result.timing["total"], verdict=result.verdict))
    return result


def _nobody(event: trace.Event) -> None:
    """Observes nothing."""


def outline(spec: Spec, folders: tuple[Path, Path] | None) -> str:
    """What would be measured: a line a probe, the totals, and what it takes."""
    calibrated = planning.calibration(spec)
    context = probe_context(spec, folders[0] if folders else None, online=False)
    planned = planning.plan(spec, context, calibrated)
    loading = gate.loading(spec)
    lines = estimate.outline(planned, calibrated, folders, gate.accelerator(loading.device), loading.dtype)
    return "\n".join([lines, *planning.notes(planned, calibrated, context)])


def probe_context(spec: Spec, base_folder: Path | None, online: bool) -> Context:
    """What the probes share; without the base's files nothing goes through a template."""
    chat = spec.defaults.chat_template
    if base_folder is None or not base.has_chat_template(base_folder):
        if base_folder is not None and chat == "on":
            raise UsageError(
                f"defaults.chat_template is on, but {spec.models.base.base} has no chat template; set auto or off"
            )
        chat = "off"
    return Context(
        sections=spec.sections,
        control=spec.control,
        seed=spec.defaults.seed,
        chat_template=chat,
        max_tokens=base.context_tokens(base_folder) if base_folder else None,
        embedder=SentenceEmbedder(online),
    )


class _Outcome(NamedTuple):
    """What came out of measuring; empty where the files alone decided."""

    results: tuple[ProbeResult, ...]
    device: str
    dtype: str
    determinism: str
    notes: tuple[str, ...]
    timing: dict[str, float]


def _measure(
    job: gate.Job,
    planned: list[Planned],
    context: Context,
    settings: nulls.Settings,
    opened: Opened,
    progress: Progress,
    outcome: _Outcome,
) -> _Outcome:
    started = time.perf_counter()
    use_store = job.cache and planning.null_entry(job.spec).cache
    readings = cache.Readings.open(_readings_context(job, settings)) if use_store else None
    loaded: list[Backend] = []

    def backend() -> Backend:
        loaded.append(opened.load())
        return loaded[0]

    asked = {p.spec.name: (p.spec.kind, planning.keys([p])) for p in planned if p.needs}
    watch = Watch(job.observe, asked) if job.observe else None
    load, store = (watch.loading(backend), watch.store(readings)) if watch else (backend, readings)
    measured = engine.measure(planning.keys(planned), load, store, progress)
    if watch:
        watch.tell_known()
    results = tuple(p.result or judge.judge(p.spec, p.probe, context, measured.answers, p.nulls) for p in planned)
    meta = _meta(loaded[0], measured.notes) if loaded else readings.meta if readings is not None else {}
    if readings is not None and loaded:
        readings.meta.update(meta)
        readings.save()
    notes = outcome.notes + tuple(filter(None, meta.get("notes", "").split("\n")))
    timing = outcome.timing | {"measure": time.perf_counter() - started}
    return _Outcome(
        results, meta.get("device", ""), meta.get("dtype", ""), meta.get("determinism", "best_effort"), notes, timing
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


def _readings_context(job: gate.Job, settings: nulls.Settings) -> str:
    """All that a reading depends on besides view and text. Not the number of nulls: draw i is the same among any."""
    return cache.context_key(
        {
            "base": job.base.digest,
            "adapter": job.adapter.digest,
            "nulls": [settings.kind, settings.init_scale, settings.seed_base],
            "seed": job.spec.defaults.seed,
            "dtype": gate.loading(job.spec).dtype,
            "differential": job.spec.defaults.differential,
            "platform": job.platform,
            "versions": job.versions,
        }
    )


def _result(
    job: gate.Job,
    findings: tuple[Finding, ...],
    calibrated: planning.Calibration,
    outcome: _Outcome,
    started: float,
) -> GateResult:
    if outcome.results:
        composite = judge.compose(outcome.results, job.weights, job.threshold)
    else:
        categories = {name: Category(weight=job.weights[name]) for name in judge.CATEGORIES}
        composite = judge.Composite("fail", 1, 0.0, categories)
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
        asked=fingerprint.of_probes(job.spec),
        texts=fingerprint.of_texts(job.spec),
    )


def _null_facts(calibrated: planning.Calibration) -> NullFacts:
    settings = calibrated.settings
    return NullFacts(
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
