"""The evaluation itself: static checks, then the plan of all probes, one measurement, one judgement."""

import gc
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from sway_gate import cache, engine, gate, judge, nulls, probes, static
from sway_gate.backends import Backend
from sway_gate.errors import AdapterError, Undecided
from sway_gate.measure import FINETUNED, View
from sway_gate.probes import CannotRun, Context, Need, Probe, Skip
from sway_gate.progress import Progress
from sway_gate.result import Category, Finding, GateResult, NullFacts, ProbeResult
from sway_gate.spec import NullAdapter, ProbeSpec, Spec

DEFAULT_RUNS = judge.FEW_NULLS
_MIN_RUNS = 3


class _Planned(NamedTuple):
    """A probe with what it needs, or with the result that it ends in without measuring."""

    spec: ProbeSpec
    probe: Probe
    nulls: judge.Nulls | None
    needs: tuple[Need, ...] = ()
    result: ProbeResult | None = None

    def null_views(self) -> list[View]:
        """The null views under which each need is measured."""
        return [view for c in self.nulls.multipliers for view in self.nulls.views(c)] if self.nulls else []


def evaluate(job: gate.Job, progress: Progress) -> GateResult:
    """Raises AdapterError where the adapter's files are broken. A verdict by files alone needs no model."""
    started = time.perf_counter()
    base_folder, adapter_folder = gate.folders(job)
    progress("static checks", 0, 0)
    report = static.check(adapter_folder, job.spec.models.base.base)
    if report.exit_code == 2:
        raise AdapterError("\n".join(_line(f) for f in report.findings if f.level == "broken"))
    settings, multipliers, notes = _calibration(job.spec)
    outcome = _Outcome((), "", "", "", notes, {"static": time.perf_counter() - started})
    if report.exit_code == 0:
        context = Context(job.spec.sections, job.spec.control, job.spec.defaults.seed)
        planned = _plan(job.spec, context, judge.Nulls(settings.runs, multipliers))
        load = _loader(job, base_folder, adapter_folder, settings, progress)
        outcome = _measure(job, planned, context, settings, load, progress, outcome)
    return _result(job, report.findings, settings, multipliers, outcome, started)


def outline(spec: Spec) -> str:
    """What would be measured: a line a probe, then the totals."""
    settings, multipliers, notes = _calibration(spec)
    context = Context(spec.sections, spec.control, spec.defaults.seed)
    planned = _plan(spec, context, judge.Nulls(settings.runs, multipliers))
    plan = dict.fromkeys(_keys(planned))
    lines = [
        f"{p.spec.name} ({p.spec.kind}): "
        + (
            f"{p.result.verdict}: {p.result.message}"
            if p.result
            else f"{len(p.needs)} texts under {1 + len(p.null_views())} adapters"
        )
        for p in planned
    ]
    texts = len({request for _, request in plan})
    total = f"{settings.runs} {settings.kind} nulls; {texts} different texts, {len(plan)} measurements"
    return "\n".join([*lines, total, *notes])


class _Outcome(NamedTuple):
    """What came out of measuring; empty where the files alone decided."""

    results: tuple[ProbeResult, ...]
    device: str
    dtype: str
    determinism: str
    notes: tuple[str, ...]
    timing: dict[str, float]


def _calibration(spec: Spec) -> tuple[nulls.Settings, tuple[float, ...], tuple[str, ...]]:
    entry = _null_entry(spec)
    runs = entry.runs or DEFAULT_RUNS
    notes = spec.notes
    if gate.loading(spec).trust_remote_code:
        notes += ("warning: trust_remote_code is on: the base's own code ran on this machine",)
    if runs < _MIN_RUNS:
        notes += (f"null_adapter runs raised from {runs} to {_MIN_RUNS}: fewer nulls have no measurable spread",)
        runs = _MIN_RUNS
    settings = nulls.Settings(runs, entry.null, entry.init_scale, entry.seed_base)
    return settings, tuple(dict.fromkeys((1.0, *entry.rank_multipliers))), notes


def _null_entry(spec: Spec) -> NullAdapter:
    entries = [p for p in spec.suite if isinstance(p, NullAdapter) and p.enabled]
    return entries[0] if entries else NullAdapter(name="null_adapter")


def _plan(spec: Spec, context: Context, null_views: judge.Nulls) -> list[_Planned]:
    kinds = _null_entry(spec).calibrate_kinds
    return [
        _plan_probe(p, context, null_views if not kinds or p.kind in kinds else None)
        for p in spec.suite
        if not isinstance(p, NullAdapter)
    ]


def _plan_probe(spec: ProbeSpec, context: Context, null_views: judge.Nulls | None) -> _Planned:
    probe = probes.module(spec.kind)
    planned = _Planned(spec, probe, null_views)
    if not spec.enabled:
        return planned._replace(result=judge.skip(spec, probe, "disabled in the spec"))
    try:
        return planned._replace(needs=tuple(probe.needs(spec, context)))
    except Skip as reason:
        return planned._replace(result=judge.skip(spec, probe, str(reason)))
    except CannotRun as reason:
        return planned._replace(result=judge.error(spec, probe, str(reason)))


def _keys(planned: list[_Planned]) -> Iterator[engine.Key]:
    for p in planned:
        null_views = p.null_views()
        for need in p.needs:
            yield from ((FINETUNED.scaled(scale), need.request) for scale in need.scales)
            yield from ((view, need.request) for view in null_views)


def _measure(
    job: gate.Job,
    planned: list[_Planned],
    context: Context,
    settings: nulls.Settings,
    load: Callable[[], Backend],
    progress: Progress,
    outcome: _Outcome,
) -> _Outcome:
    started = time.perf_counter()
    use_store = job.cache and _null_entry(job.spec).cache
    readings = cache.Readings.open(_readings_context(job, settings)) if use_store else None
    loaded: list[Backend] = []

    def backend() -> Backend:
        loaded.append(load())
        return loaded[0]

    measured = engine.measure(_keys(planned), backend, readings, progress)
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
            "platform": job.platform,
            "versions": job.versions,
        }
    )


def _loader(
    job: gate.Job, base_folder: Path, adapter_folder: Path, settings: nulls.Settings, progress: Progress
) -> Callable[[], Backend]:
    def load() -> Backend:
        progress("loading the model", 0, 0)
        how = gate.loading(job.spec)
        with _without_collections():
            try:
                from sway_gate.backends import hf
            except ImportError as error:
                raise Undecided(f"{error}; install the extra: pip install 'sway-gate[hf]'") from None
            source = hf.Source(base_folder, adapter_folder, *how, seed=job.spec.defaults.seed)
            return hf.load(source, settings)

    return load


@contextmanager
def _without_collections() -> Iterator[None]:
    """Importing torch and loading a model makes a million objects that stay: to search them for garbage again and
    again, and once more at exit, takes a third of a short run."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        if enabled:
            gc.enable()


def _result(
    job: gate.Job,
    findings: tuple[Finding, ...],
    settings: nulls.Settings,
    multipliers: tuple[float, ...],
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
        nulls=_null_facts(settings, multipliers) if outcome.results else None,
        determinism=outcome.determinism,
        device=outcome.device,
        dtype=outcome.dtype,
        seed=job.spec.defaults.seed,
        versions=job.versions,
        timing=outcome.timing | {"total": time.perf_counter() - started},
        findings=tuple(f for f in findings if f.level != "note"),
        notes=outcome.notes + tuple(f.message for f in findings if f.level == "note"),
    )


def _null_facts(settings: nulls.Settings, multipliers: tuple[float, ...]) -> NullFacts:
    return NullFacts(runs=settings.runs, null=settings.kind, seed_base=settings.seed_base, rank_multipliers=multipliers)


def _line(finding: Finding) -> str:
    return (
        f"{finding.path}: {finding.message}; {finding.remedy}"
        if finding.remedy
        else f"{finding.path}: {finding.message}"
    )
