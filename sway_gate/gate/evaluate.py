"""Evaluates a job: static checks, a plan of all probes, measurement and judgement in stages."""

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import NamedTuple, TypeVar

import msgspec

from sway_gate.backends.base import Backend
from sway_gate.backends.processor import is_cpu, may_have_gpu
from sway_gate.engine import trace
from sway_gate.engine.estimate import check_time
from sway_gate.engine.plan import NullPlan, all_measurements, null_plan, plan_notes, plan_probes
from sway_gate.errors import AdapterError, SwayError
from sway_gate.gate.context import probe_context
from sway_gate.gate.format import with_trained_format
from sway_gate.gate.open import OpenBase, Opened, open_models
from sway_gate.gate.readings import JobReadings, open_readings
from sway_gate.gate.resolve import Folders, Job, accelerator, check_unchanged, load_options
from sway_gate.gate.stages import Stages
from sway_gate.judge.composite import CATEGORIES, Composite, compose
from sway_gate.judge.diagnosis import about_full_model, consistent, diagnose
from sway_gate.judge.file_waivers import file_waiver_notes, with_file_waivers
from sway_gate.judge.side_by_side import side_by_side
from sway_gate.judge.waivers import waived, waiver_notes, with_waivers
from sway_gate.measurements import Measurement
from sway_gate.output import Progress
from sway_gate.results import (
    Category,
    Diagnosis,
    Finding,
    GateResult,
    NullSummary,
    ProbeResult,
    Verdict,
)
from sway_gate.spec.schema import Models
from sway_gate.static.base import LOCAL_NOTES
from sway_gate.static.check import StaticReport, check_files, check_model
from sway_gate.static.findings import finding_line
from sway_gate.text import named

_Texts = TypeVar("_Texts", Diagnosis, ProbeResult)


def evaluate(job: Job, progress: Progress, base: OpenBase | None = None) -> GateResult:
    """The result, independent of where the files are.

    Paths of findings are relative to the adapter's folder, and notes with paths are left out. No
    model is loaded if the files already decide. Raises AdapterError if the adapter's files are
    broken.
    """
    started = time.perf_counter()
    observe = job.observe or _ignore
    observe(trace.Started(spec=job.spec.label, adapter=job.adapter.path, base=job.base.path))
    progress("checking the files", 0, 0)
    findings, is_decided = _static_findings(job)
    timing = {"static": time.perf_counter() - started}
    nulls = null_plan(job.spec)
    outcome = _Outcome()
    if not is_decided:
        measuring = time.perf_counter()
        outcome = _measure(job, nulls, progress, base)
        outcome = _waived(job, outcome)
        timing["measure"] = time.perf_counter() - measuring
    else:
        check_unchanged(job)
    timing["total"] = time.perf_counter() - started
    result = _gate_result(job, findings, nulls, outcome, timing)
    observe(trace.Ended(seconds=timing["total"], verdict=result.verdict))
    return result


def _ignore(event: trace.Event) -> None:
    """Ignore the event."""


def _static_findings(job: Job) -> tuple[tuple[Finding, ...], bool]:
    """The findings, and whether they decide. Raises AdapterError if the files are broken."""
    if job.folders is None:
        return (), False
    folder = job.folders.adapter
    report = _static_report(job.spec.models, job.folders)
    if report.exit_code == 2:
        raise AdapterError(
            "\n".join(finding_line(f) for f in report.findings if f.level == "broken")
        )
    findings = with_file_waivers(report.findings, job.spec.waivers, job.today)
    is_decided = any(found.level == "verdict" for found in findings)
    return tuple(_relative(found, folder) for found in findings), is_decided


def _static_report(models: Models, folders: Folders) -> StaticReport:
    if folders.is_full:
        return check_model(folders.adapter)
    # mlx-lm also loads bases that only it can read.
    base = models.base.base if models.ft.kind == "hf" else None
    return check_files(folders.adapter, base, folders.base)


class _Outcome(NamedTuple):
    """The outcome of measuring; empty if the files already decided."""

    results: tuple[ProbeResult, ...] = ()
    device: str = ""
    dtype: str = ""
    determinism: str = ""
    notes: tuple[str, ...] = ()


def _measure(job: Job, nulls: NullPlan, progress: Progress, base: OpenBase | None) -> _Outcome:
    opened = open_models(job, nulls.settings, progress, base)
    context = probe_context(job.spec, job.folders, job.online)
    planned = plan_probes(job.spec, context, nulls, opened.capabilities)
    readings = open_readings(job, nulls.settings, base)
    _check_time(job, all_measurements(planned), readings)
    stages = Stages(job, opened, readings, progress)
    with _kept_if_interrupted(job, opened, readings):
        context, format_notes = with_trained_format(context, stages, opened.capabilities)
        if format_notes:
            planned = plan_probes(job.spec, context, nulls, opened.capabilities)
        results = stages.judge(planned)
    progress("judging", 0, 0)
    check_unchanged(job)  # again: tensors can still be read from the files while they are used
    if opened.backend:
        readings.describe(_meta(opened.backend, stages.notes))
        readings.save()
    meta = readings.meta
    notes = (
        *opened.notes,
        *format_notes,
        *plan_notes(planned, nulls, context, opened.capabilities),
        *filter(None, meta.get("notes", "").split("\n")),
    )
    return _Outcome(
        tuple(results[p.spec.name] for p in planned),
        meta.get("device", ""),
        meta.get("dtype", ""),
        meta.get("determinism", "best_effort"),
        notes,
    )


def _waived(job: Job, outcome: _Outcome) -> _Outcome:
    """The outcome with the waivers of the spec applied."""
    waivers = job.spec.waivers
    notes = (*outcome.notes, *waiver_notes(outcome.results, waivers))
    return outcome._replace(results=with_waivers(outcome.results, waivers, job.today), notes=notes)


def _check_time(job: Job, measurements: Sequence[Measurement], readings: JobReadings) -> None:
    """Raise UsageError if the run would take hours, and its user has not allowed it."""
    loading = load_options(job.spec)
    device = accelerator(loading.device)
    if job.max_seconds is None or job.folders is None or job.deadline is not None:
        return
    if not is_cpu(device) or may_have_gpu(device):
        return
    missing = readings.missing(measurements)
    check_time(missing, job.folders[:2], loading.dtype, job.max_seconds)


@contextmanager
def _kept_if_interrupted(job: Job, opened: Opened, readings: JobReadings) -> Iterator[None]:
    """Store what was measured before an interruption, so that the next run does not repeat it."""
    try:
        yield
    except KeyboardInterrupt as stop:
        with suppress(SwayError):  # the models changed: the readings are not theirs
            if opened.backend:
                check_unchanged(job)
                readings.describe(_meta(opened.backend, ()))
                if readings.save():
                    stop.add_note("finished readings are kept: run the same command to continue")
        raise


def _meta(backend: Backend, notes: tuple[str, ...]) -> dict[str, str]:
    """Facts about the measurement, stored with the readings for runs that need no backend."""
    facts = backend.facts
    unused = backend.unused_modules()
    lines = [*facts.notes, *notes]
    if unused:
        first = ", ".join(unused[:3])
        lines.append(f"no forward pass uses {len(unused)} adapted modules: {first}")
    return {
        "device": facts.device,
        "dtype": facts.dtype,
        "determinism": facts.determinism,
        "notes": "\n".join(lines),
    }


def _gate_result(
    job: Job,
    findings: tuple[Finding, ...],
    nulls: NullPlan,
    outcome: _Outcome,
    timing: dict[str, float],
) -> GateResult:
    composite = _composite(job, outcome.results)
    diagnosis = diagnose(outcome.results, findings, composite.verdict)
    probes = consistent(outcome.results, diagnosis)
    if job.adapter.is_full:
        diagnosis = _about_full_model(diagnosis, "sentence", "advice")
        probes = tuple(_about_full_model(probe, "advice") for probe in probes)
    is_calibrated = any(result.n_null for result in outcome.results)
    return GateResult(
        verdict=composite.verdict,
        exit_code=composite.exit_code,
        score=composite.score,
        threshold=job.threshold,
        categories=composite.categories,
        probes=probes,
        spec=job.spec.label,
        adapter=job.adapter,
        base=job.base,
        nulls=_null_summary(nulls) if is_calibrated else None,
        determinism=outcome.determinism,
        device=outcome.device,
        dtype=outcome.dtype,
        seed=job.spec.defaults.seed,
        versions=job.versions,
        timing=timing,
        findings=tuple(found for found in findings if found.level != "note"),
        notes=_notes(job, outcome, findings),
        diagnosis=diagnosis,
        side_by_side=side_by_side(probes),
    )


def _about_full_model(texts: _Texts, *fields: str) -> _Texts:
    """The struct with some of its texts about a fine-tuned model instead of an adapter."""
    new = {field: about_full_model(getattr(texts, field)) for field in fields}
    return msgspec.structs.replace(texts, **new)


def _composite(job: Job, results: tuple[ProbeResult, ...]) -> Composite:
    if results:
        return compose(results, job.weights, job.threshold, _required(job))
    categories = {name: Category(weight=job.weights[name]) for name in CATEGORIES}
    return Composite("fail", 0.0, categories)


def _required(job: Job) -> tuple[str, ...]:
    """With training data, the gate passes only if a test shows that the data was learned."""
    return ("attribution",) if job.spec.sections else ()


def _unmeasured(results: tuple[ProbeResult, ...]) -> list[str]:
    """A note for each category without a probe that counts: the composite does not contain it."""
    notes = []
    for name in CATEGORIES:
        own = [result for result in results if result.category == name]
        if own and all(result.verdict in (Verdict.SKIP, Verdict.WAIVED) for result in own):
            how = "skipped or waived" if waived(own) else "skipped"
            names = named([result.name for result in own])
            notes.append(f"{name}: all probes were {how} ({names}); the composite omits it")
    return notes


def _notes(job: Job, outcome: _Outcome, findings: tuple[Finding, ...]) -> tuple[str, ...]:
    """All notes except notes with paths."""
    notes = [*outcome.notes, *_unmeasured(outcome.results)]
    if load_options(job.spec).trust_remote_code:
        warning = "warning: trust_remote_code is on: code of the base model ran on this machine"
        notes.insert(0, warning)
    static = [f for f in findings if f.level == "note" and f.id not in LOCAL_NOTES]
    notes += [found.message for found in static]
    return (*notes, *file_waiver_notes(findings, job.spec.waivers))


def _null_summary(nulls: NullPlan) -> NullSummary:
    settings = nulls.settings
    return NullSummary(
        runs=settings.runs,
        null=settings.kind,
        seed_base=settings.seed_base,
        rank_multipliers=nulls.multipliers,
    )


def _relative(finding: Finding, folder: Path) -> Finding:
    path = Path(finding.path)
    if not path.is_relative_to(folder):
        return finding
    return msgspec.structs.replace(finding, path=str(path.relative_to(folder)))
