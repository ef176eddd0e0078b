"""Plans a suite: the requests and views of each probe, and which probes cannot run."""

from collections.abc import Sequence
from typing import Any, NamedTuple

from sway_gate import probes
from sway_gate.backends import null_adapters
from sway_gate.backends.base import ALL, Capability, capabilities_needed
from sway_gate.conversation import Conversation
from sway_gate.judge.criteria import FEW_NULLS
from sway_gate.judge.probe import NullViews, error_result, skip_result
from sway_gate.measurements import (
    FINETUNED,
    Divergence,
    Measurement,
    Request,
    View,
    with_base,
)
from sway_gate.probes.base import CannotRun, Context, Extensible, Growing, Need, Probe, Skip
from sway_gate.results import ProbeResult
from sway_gate.spec.probes import null_settings
from sway_gate.spec.schema import ProbeSpec, Spec

DEFAULT_RUNS = FEW_NULLS
GENERATIVE_RUNS = 4
_MIN_RUNS = 3
_FIRST_NULLS, _EARLY_SHARE = 4, 0.1
_LACKING: dict[Capability, str] = {
    "generation": "cannot generate text",
    "teacher_forced": "does not report the most probable token",
    "scales": "cannot scale the adapter",
    "log_probs": "does not score given texts",
    "divergences": "gives no probabilities of the next token",
    "whole_vocabulary": "gives only the most probable tokens, which bound a divergence from below",
}


class NullPlan(NamedTuple):
    """The null adapters of a suite."""

    settings: null_adapters.NullSettings
    multipliers: tuple[float, ...]
    """Rank multipliers, 1 included."""
    generative_runs: int
    """Probes that generate text use only the first of them."""
    kinds: tuple[str, ...]
    """The kinds of probes that use nulls; empty: all."""
    notes: tuple[str, ...]

    def for_probe(
        self, kind: str, probe: Probe, capabilities: frozenset[Capability]
    ) -> tuple[NullViews, ...]:
        """The null views of a probe, look by look; empty if it is not calibrated."""
        if "nulls" not in capabilities or (self.kinds and kind not in self.kinds):
            return ()
        if not probe.KIND.is_calibrated:
            return ()
        runs = self.generative_runs if probe.KIND.generates else self.settings.runs
        return _looks(runs, self.multipliers if "scales" in capabilities else (1.0,))


def _looks(runs: int, multipliers: tuple[float, ...]) -> tuple[NullViews, ...]:
    """The first 4 nulls, then twice as many at each look, up to `runs`.

    Nulls at several multipliers are one look: an early look that decides would not suffice for a
    profile of ranks.
    """
    if len(multipliers) > 1:
        return (NullViews(runs, multipliers),)
    return tuple(NullViews(n, multipliers, share) for n, share in _doubled(_FIRST_NULLS, runs))


def _doubled(first: int, most: int) -> list[tuple[int, float]]:
    """The size of each look and its share of the error: `first`, twice as many, …, `most`.

    The early looks share a tenth of the error. Less than twice `first` is one look.
    """
    early: list[int] = []
    while (n := first << len(early)) <= most / 2:
        early.append(n)
    if not early:
        return [(most, 1.0)]
    return [*((n, _EARLY_SHARE / len(early)) for n in early), (most, 1 - _EARLY_SHARE)]


class RowsLook(NamedTuple):
    """A look at growing rows: the context that contains them, and its share of the error."""

    context: Context
    share: float = 1.0


def _looks_at_rows(probe: Probe, context: Context) -> list[RowsLook]:
    samples = 1 + len(probe.reserve(context).samples) if isinstance(probe, Growing) else 1
    return [RowsLook(context.of_samples(n), share) for n, share in _doubled(1, samples)]


class ItemsLook(NamedTuple):
    """The second look at a harm that the first items leave open: the entry with more of them, and
    its share of the error.

    The first look has the whole error. The second one follows only if the estimate is outside the
    margin or within 1.5 standard errors of it: simulated at the margin, it adds .7% of passes and
    .7% of failures.
    """

    spec: ProbeSpec
    share: float = 0.25


def _second_look(spec: ProbeSpec, probe: Probe) -> list[ItemsLook]:
    more = probe.extended(spec) if isinstance(probe, Extensible) else None
    return [ItemsLook(more)] if more else []


class PlannedProbe(NamedTuple):
    """A probe with its requests, or with its result if it is not measured."""

    spec: ProbeSpec
    probe: Probe
    rows: RowsLook
    nulls: NullViews | None
    later: tuple[NullViews | RowsLook | ItemsLook, ...] = ()
    """The later looks, each with more nulls, rows or items; see `at_next_look`."""
    requests: Any = None
    """The result of the probe's `requests`."""
    needs: tuple[Need, ...] = ()
    measurements: tuple[Measurement, ...] = ()
    """Each request under all its views, the base included."""
    result: ProbeResult | None = None

    def at_next_look(self) -> "PlannedProbe":
        """The probe at its next look, of which there must be one."""
        look, *later = self.later
        if isinstance(look, RowsLook):
            return self._replace(rows=look, later=tuple(later))._with_requests()
        if isinstance(look, ItemsLook):
            rows = self.rows._replace(share=look.share)
            return self._replace(spec=look.spec, rows=rows, later=tuple(later))._with_requests()
        measurements = _measurements(self.needs, look)
        return self._replace(nulls=look, later=tuple(later), measurements=measurements)

    def with_all_nulls(self) -> "PlannedProbe":
        """The probe at its last look at the nulls."""
        return self.at_next_look().with_all_nulls() if self.nulls and self.later else self

    def _with_requests(self) -> "PlannedProbe":
        """The probe with the measurements of its look. Raises Skip and CannotRun."""
        requests = self.probe.requests(self.spec, self.rows.context)
        needs = tuple(self.probe.needs(self.spec, requests))
        measurements = _measurements(needs, self.nulls)
        return self._replace(requests=requests, needs=needs, measurements=measurements)


def null_plan(spec: Spec) -> NullPlan:
    """The nulls of the suite's null_adapter entry, or the defaults."""
    entry = null_settings(spec.suite)
    runs = entry.runs or DEFAULT_RUNS
    notes: tuple[str, ...] = ()
    if runs < _MIN_RUNS:
        notes = (
            f"null_adapter runs raised from {runs} to {_MIN_RUNS}: "
            "fewer nulls cannot estimate the standard deviation",
        )
        runs = _MIN_RUNS
    settings = null_adapters.NullSettings(runs, entry.null, entry.init_scale, entry.seed_base)
    multipliers = tuple(dict.fromkeys((1.0, *entry.rank_multipliers)))
    return NullPlan(
        settings, multipliers, runs if entry.runs else GENERATIVE_RUNS, entry.calibrate_kinds, notes
    )


def plan_probes(
    spec: Spec, context: Context, nulls: NullPlan, capabilities: frozenset[Capability] = ALL
) -> list[PlannedProbe]:
    """All probes of the suite, in its order."""
    return [_plan_probe(p, context, nulls, capabilities) for p in spec.suite if p.is_probe]


def _plan_probe(
    spec: ProbeSpec, context: Context, nulls: NullPlan, capabilities: frozenset[Capability]
) -> PlannedProbe:
    probe = probes.module(spec.kind)
    first, *later = nulls.for_probe(spec.kind, probe, capabilities) or (None,)
    rows, *more_rows = _looks_at_rows(probe, context)
    looks: list[NullViews | RowsLook | ItemsLook] = [*filter(None, later), *more_rows]
    looks += _second_look(spec, probe)
    planned = PlannedProbe(spec, probe, rows, first, tuple(looks))
    if not spec.enabled:
        return planned._replace(result=skip_result(spec, probe, "disabled in the spec"))
    try:
        measured = planned._with_requests()
    except Skip as reason:
        return planned._replace(result=skip_result(spec, probe, str(reason)))
    except CannotRun as reason:
        return planned._replace(result=error_result(spec, probe, str(reason)))
    if lacking := sorted(_capabilities_needed(measured.needs, probe) - capabilities):
        message = f"this backend {_LACKING[lacking[0]]}"
        return planned._replace(result=skip_result(spec, probe, message))
    return measured


def _measurements(needs: Sequence[Need], nulls: NullViews | None) -> tuple[Measurement, ...]:
    """Each need under the base, under the adapter at its scales, and under the nulls."""
    null_views = [view for c in nulls.multipliers for view in nulls.views(c)] if nulls else []
    wanted: list[tuple[View, Request]] = []
    for need in needs:
        views = [FINETUNED.scaled(scale) for scale in need.scales]
        views += null_views if need.of_nulls else []
        wanted += [(view, need.request) for view in views]
    return with_base(wanted)


def _capabilities_needed(needs: Sequence[Need], probe: Probe) -> set[Capability]:
    """The capabilities without which the adapter cannot be measured."""
    needed: set[Capability] = set()
    for need in needs:
        if isinstance(need.request, Divergence) and not probe.KIND.takes_lower_bounds:
            needed.add("whole_vocabulary")
        for scale in need.scales:
            needed.update(capabilities_needed(FINETUNED.scaled(scale), need.request))
    return needed


def all_measurements(planned: Sequence[PlannedProbe]) -> tuple[Measurement, ...]:
    """The measurements of all probes, each once."""
    return tuple(dict.fromkeys(m for p in planned for m in p.measurements))


def plan_notes(
    planned: Sequence[PlannedProbe],
    nulls: NullPlan,
    context: Context,
    capabilities: frozenset[Capability] = ALL,
) -> tuple[str, ...]:
    """Notes on the plan for the report."""
    found = list(nulls.notes)
    calibrated = [p for p in planned if p.needs and p.probe.KIND.is_calibrated]
    if calibrated and "nulls" not in capabilities:
        found.append(
            "no calibration: this backend has no null adapters; "
            "effects are judged by their limits only"
        )
    elif "scales" not in capabilities and len(nulls.multipliers) > 1:
        found.append("rank_multipliers are ignored: this backend cannot scale its nulls")
    generative = [p.spec.name for p in planned if p.needs and p.nulls and p.probe.KIND.generates]
    if generative and nulls.generative_runs < nulls.settings.runs:
        found.append(
            f"{nulls.generative_runs} nulls for probes that generate text: {', '.join(generative)}"
        )
    requests = {need.request for p in planned for need in p.needs}
    prompts = {r.prompt for r in requests if r.prompt}
    if prompts and context.chat_template != "off":
        through = sum(isinstance(prompt, Conversation) for prompt in prompts)
        found.append(
            f"chat template ({context.chat_template}): "
            f"applied to {through} of {len(prompts)} prompts"
        )
    return tuple(found)
