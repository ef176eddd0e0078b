"""What a suite measures: which probe needs which texts under which views, and which cannot run at all."""

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

from sway_gate import probes
from sway_gate.backends import null_adapters
from sway_gate.backends.base import ALL, Capability
from sway_gate.engine.run import Key
from sway_gate.judge.probe import FEW_NULLS, NullViews, error_result, skip_result
from sway_gate.measurements import FINETUNED, Divergence, Generation, LogProbs, TeacherForced, View
from sway_gate.probes.base import CannotRun, Context, Need, Probe, Skip
from sway_gate.results import ProbeResult
from sway_gate.spec.probes import null_settings
from sway_gate.spec.schema import ProbeSpec, Spec

DEFAULT_RUNS = FEW_NULLS
GENERATIVE_RUNS = 4
_MIN_RUNS = 3


class NullPlan(NamedTuple):
    """The nulls of a suite: `settings` for those that are drawn, of which generative probes use the first few."""

    settings: null_adapters.NullSettings
    multipliers: tuple[float, ...]
    generative_runs: int
    kinds: tuple[str, ...]
    """The kinds that are calibrated; empty for all."""
    notes: tuple[str, ...]

    def for_probe(
        self, kind: str, probe: Probe, capabilities: frozenset[Capability]
    ) -> NullViews | None:
        if "nulls" not in capabilities or (self.kinds and kind not in self.kinds):
            return None
        multipliers = self.multipliers if "scales" in capabilities else (1.0,)
        return NullViews(
            self.generative_runs if probe.KIND.generates else self.settings.runs, multipliers
        )


class PlannedProbe(NamedTuple):
    """A probe with what it needs, or with the result that it ends in without measuring."""

    spec: ProbeSpec
    probe: Probe
    nulls: NullViews | None
    requests: Any = None
    """What the probe's `requests` returned."""
    needs: tuple[Need, ...] = ()
    result: ProbeResult | None = None

    def null_views(self) -> list[View]:
        """The null views under which each need is measured."""
        return (
            [view for c in self.nulls.multipliers for view in self.nulls.views(c)]
            if self.nulls
            else []
        )


def null_plan(spec: Spec) -> NullPlan:
    """What the suite's null_adapter entry says, or the defaults."""
    entry = null_settings(spec.suite)
    runs = entry.runs or DEFAULT_RUNS
    notes: tuple[str, ...] = ()
    if runs < _MIN_RUNS:
        notes = (
            f"null_adapter runs raised from {runs} to {_MIN_RUNS}: fewer nulls have no measurable spread",
        )
        runs = _MIN_RUNS
    settings = null_adapters.NullSettings(runs, entry.null, entry.init_scale, entry.seed_base)
    multipliers = tuple(dict.fromkeys((1.0, *entry.rank_multipliers)))
    return NullPlan(
        settings, multipliers, runs if entry.runs else GENERATIVE_RUNS, entry.calibrate_kinds, notes
    )


def plan_probes(
    spec: Spec, context: Context, calibrated: NullPlan, capabilities: frozenset[Capability] = ALL
) -> list[PlannedProbe]:
    """Every probe of the suite, in its order."""
    return [_plan_probe(p, context, calibrated, capabilities) for p in spec.suite if p.is_probe]


def _plan_probe(
    spec: ProbeSpec, context: Context, calibrated: NullPlan, capabilities: frozenset[Capability]
) -> PlannedProbe:
    probe = probes.module(spec.kind)
    planned = PlannedProbe(spec, probe, calibrated.for_probe(spec.kind, probe, capabilities))
    if not spec.enabled:
        return planned._replace(result=skip_result(spec, probe, "disabled in the spec"))
    try:
        requests = probe.requests(spec, context)
        needs = tuple(probe.needs(spec, requests))
    except Skip as reason:
        return planned._replace(result=skip_result(spec, probe, str(reason)))
    except CannotRun as reason:
        return planned._replace(result=error_result(spec, probe, str(reason)))
    if lacking := next(
        (_LACKING[c] for c in sorted(_capabilities_needed(needs) - capabilities)), ""
    ):
        return planned._replace(result=skip_result(spec, probe, f"this backend {lacking}"))
    return planned._replace(requests=requests, needs=needs)


_LACKING: dict[Capability, str] = {
    "generation": "writes no texts",
    "recall": "does not tell the most probable token",
    "scales": "cannot scale the adapter",
}


def _capabilities_needed(needs: Sequence[Need]) -> set[Capability]:
    asked: set[Capability] = set()
    for need in needs:
        if need.scales != (1.0,):
            asked.add("scales")
        if isinstance(need.request, Generation):
            asked.add("generation")
        elif isinstance(need.request, TeacherForced):
            asked.add("recall")
    return asked


def measurement_keys(planned: Sequence[PlannedProbe]) -> Iterator[Key]:
    """Every measurement, doubles and all."""
    for p in planned:
        null_views = p.null_views()
        for need in p.needs:
            yield from ((FINETUNED.scaled(scale), need.request) for scale in need.scales)
            yield from ((view, need.request) for view in null_views if need.of_nulls)


def plan_notes(
    planned: Sequence[PlannedProbe],
    calibrated: NullPlan,
    context: Context,
    capabilities: frozenset[Capability] = ALL,
) -> tuple[str, ...]:
    """What the reader of the report should know of the plan."""
    found = list(calibrated.notes)
    if "nulls" not in capabilities:
        found.append(
            "no calibration: this backend has no null adapters; effects are judged by their fixed rule alone"
        )
    elif "scales" not in capabilities and len(calibrated.multipliers) > 1:
        found.append("rank_multipliers are left out: this backend cannot scale its nulls")
    generative = [p.spec.name for p in planned if p.needs and p.nulls and p.probe.KIND.generates]
    if generative and calibrated.generative_runs < calibrated.settings.runs:
        found.append(
            f"{calibrated.generative_runs} nulls for what is generated: {', '.join(generative)}"
        )
    requests = {need.request for p in planned for need in p.needs}
    prompts = {
        (r.prompt, r.chat)
        for r in requests
        if isinstance(r, Divergence | LogProbs | Generation) and r.prompt
    }
    if prompts and context.chat_template != "off":
        through = sum(chat for _, chat in prompts)
        found.append(
            f"chat template ({context.chat_template}): {through} of {len(prompts)} prompts go through the base's own"
        )
    return tuple(found)
