"""Judge a probe on synthetic answers, without a model."""

from collections.abc import Callable
from typing import Any

import numpy as np

from sway_gate import probes
from sway_gate.judge.probe import NullViews, ProbeRun, error_result, judge_probe, skip_result
from sway_gate.measurements import BASE, FINETUNED, Answers, Fault, Generation, Request, View
from sway_gate.probes.base import CannotRun, Context, Skip
from sway_gate.results import ProbeResult
from sway_gate.spec.probes import KINDS

_NOTHING = Context()
Answer = Callable[[View, Request], Any]


def answers_to(spec: Any, context: Context, nulls: NullViews | None, answer: Answer) -> Answers:
    """All answers that the probe needs, by `answer(view, request)`; a text is a fault."""
    null_views = [v for c in nulls.multipliers for v in nulls.views(c)] if nulls else []
    values: dict[Any, Any] = {}
    faults: dict[Any, Fault] = {}
    probe = probes.module(spec.kind)
    for need in probe.needs(spec, probe.requests(spec, context)):
        measured = [BASE, *(FINETUNED.scaled(scale) for scale in need.scales)]
        for view in measured + (null_views if need.of_nulls else []):
            given = answer(view, need.request)
            if isinstance(need.request, Generation):
                values[view, need.request] = given
            elif isinstance(given, str):
                faults[view, need.request] = Fault(
                    given, "base" if "base view" in given else "adapter"
                )
            else:
                values[view, need.request] = np.atleast_1d(np.asarray(given, dtype=np.float64))
    return Answers(values, faults)


def judged(
    kind: str,
    answer: Answer,
    *,
    runs: int | None = 8,
    multipliers: tuple[float, ...] = (1.0,),
    context: Context = _NOTHING,
    **fields: Any,
) -> ProbeResult:
    spec = KINDS[kind](name=kind, **fields)
    nulls = NullViews(runs, multipliers) if runs else None
    probe = probes.module(kind)
    try:
        answers = answers_to(spec, context, nulls, answer)
        run = ProbeRun(spec, probe, context, probe.requests(spec, context), answers)
        return judge_probe(run, nulls)
    except CannotRun as reason:
        return error_result(spec, probe, str(reason))
    except Skip as reason:
        return skip_result(spec, probe, str(reason))


def texts_by_source(
    base: Callable[[int], str], ft: Callable[[int], str], null: Callable[[int, int], str]
) -> Answer:
    """Texts by the number i at the end of the prompt; `null(i, k)` is the text of null k."""

    def answer(view: View, request: Any) -> str:
        i = int(request.prompt.split()[-1])
        if view.source == "base":
            return base(i)
        return ft(i) if view.source == "finetuned" else null(i, view.seed_index)

    return answer


def by_source(base: float, ft: float, null: float, spread: float = 0.05) -> Callable[[View], float]:
    """A number per view: nulls are `null` ± `spread` of it, evenly spaced and scaled."""

    def number(view: View) -> float:
        if view.source == "base":
            return base
        if view.source == "finetuned":
            return ft
        return null * (1 + spread * ((view.seed_index % 5) - 2) / 2)

    return number


def spread(mean: float, sd: float, n: int) -> list[float]:
    """n normal numbers with exactly this mean and standard deviation."""
    noise = np.random.default_rng(0).standard_normal(n)
    return list(mean + sd * (noise - noise.mean()) / noise.std(ddof=1))
