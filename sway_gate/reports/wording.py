"""Wording that the human-readable reports share: reasons for a verdict, numbers, next steps."""

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Final, NamedTuple, TypeVar

from sway_gate.details import Response
from sway_gate.judge.composite import doubtful, suggests_harm
from sway_gate.judge.waivers import expired, waived
from sway_gate.reports import links
from sway_gate.results import (
    CHECK,
    RECITED,
    Category,
    Exchange,
    GateResult,
    ModelFacts,
    ProbeResult,
    Rule,
    Verdict,
)
from sway_gate.text import counted, distinct, named, number, one_line, signed

if TYPE_CHECKING:
    from sway_gate.compare.history import Course
    from sway_gate.compare.results import Change

Row = TypeVar("Row")


def score_text(value: float | None) -> str:
    """Format a score with two decimals; ``–`` if there is none."""
    return "–" if value is None or not math.isfinite(value) else f"{value:.2f}"


def seconds(timing: dict[str, float]) -> float:
    """Wall time of the whole run: the `total` phase if present, otherwise the sum of the phases."""
    spent = [timing["total"]] if "total" in timing else timing.values()
    return sum(value for value in spent if math.isfinite(value) and value > 0)


LEVEL_WORDS = {"broken": "ERROR", "verdict": "FAIL", "warning": "WARN", "waived": "WAIVED"}
"""Word for the level of a finding; notes have none."""
_URGENCY = {"broken": 0, "verdict": 0, "error": 1, "fail": 1, "warn": 2, "warning": 2, "waived": 2}
"""Order of findings and verdicts in the reports; 3 for all others."""


def headline(result: GateResult) -> str:
    """Return the verdict and its reasons in one line of plain text."""
    return " · ".join([verdict_word(result), *grounds(result)])


def exit_word(code: int) -> str:
    """Return the verdict of an exit code; an error with the code."""
    return {0: "PASS", 1: "FAIL"}.get(code, f"ERROR (exit code {code})")


def grounds(result: GateResult) -> list[str]:
    """Reasons for the verdict, the composite and the adapter's path."""
    adapter = f"{subject(result.adapter)} {one_line(result.adapter.path)}"
    return [*reasons(result), adapter, *(["(cached)"] if result.cached else [])]


def reasons(result: GateResult) -> list[str]:
    """Reasons for the verdict, the composite and the number of waived findings."""
    threshold = f"threshold {result.threshold:.2f}" if result.threshold else "no threshold"
    composite = f"composite {score_text(result.score)} ({threshold})"
    match result.verdict:
        case "pass":
            found = [composite]
        case "fail":
            found = [*_failures(result), composite]
        case _:
            found = [f"could not decide: {_obstacle(result)}"]
    if count := len(waived(result.probes, result.findings)):
        found.append(f"{counted(count, 'finding')} waived")
    return found


def _failures(result: GateResult) -> list[str]:
    """The reason of a failure, and the expired waivers."""
    lapsed = expired(result.probes)
    failure = _failure(result)
    if not lapsed:
        return [failure or "the composite is below the threshold"]
    verb = "the waiver of" if len(lapsed) == 1 else "the waivers of"
    return [*filter(None, [failure]), f"{verb} {named(lapsed)} expired"]


def _failure(result: GateResult) -> str:
    """Why the files, the baseline or a probe fail the gate; "" if none of them does."""
    if reasons := [one_line(item.message) for item in result.findings if item.level == "verdict"]:
        return reasons[0]
    if result.baseline and _is_behind(result):
        worse = [regression.name for regression in result.baseline.regressions]
        return f"worse than the baseline: {named(worse)}"
    if failed := [probe.name for probe in result.probes if probe.verdict is Verdict.FAIL]:
        count = sum(map(_ran, result.probes))
        ran = counted(count, "probe") + (" that ran" if count < len(result.probes) else "")
        verb = "fails" if len(failed) == 1 else "fail"
        stuck = _stuck(result)
        beside = f"; {len(stuck)} could not run: {named(stuck)}" if stuck else ""
        return f"{len(failed)} of {ran} {verb}: {named(failed)}{beside}"
    return ""


def _ran(probe: ProbeResult) -> bool:
    return probe.verdict not in (Verdict.SKIP, Verdict.ERROR) and not probe.is_left_out


def _stuck(result: GateResult) -> list[str]:
    """The names of the probes that could not run."""
    return [probe.name for probe in result.probes if probe.verdict is Verdict.ERROR]


def _obstacle(result: GateResult) -> str:
    if reasons := [one_line(item.message) for item in result.findings if item.level == "broken"]:
        return reasons[0]
    if stuck := _stuck(result):
        probes = counted(len(result.probes), "probe")
        return f"{len(stuck)} of {probes} could not run: {named(stuck)}"
    if left_out := [probe.name for probe in result.probes if probe.is_left_out]:
        return f"the time budget ended before {named(left_out)}"
    if accepted := waived(result.probes):
        return f"the results are not sufficient without the waived findings: {named(accepted)}"
    required = {name: own for name, own in result.categories.items() if own.required}
    if not all(map(is_scored, required.values())):
        return "nothing tested whether the data was learned"
    for name in required:
        if inconclusive := _only_inconclusive(result, name):
            return f"inconclusive whether the data was learned: {inconclusive}"
        if names := doubtful(result.probes, name):
            reason = "an estimate is outside its limit"
            return f"inconclusive whether the data was learned: {reason}: {named(names)}"
    if harms := [probe.name for probe in result.probes if suggests_harm(probe)]:
        return f"inconclusive whether it harms the model: {named(harms)}"
    if result.score is not None:
        return "no probe passed, so the results are inconclusive"
    if scored := [probe.name for probe in result.probes if probe.score is not None]:
        return f"no probe with a weight returned a value; the weight is 0: {named(scored)}"
    return one_line(result.notes[0]) if result.notes else "no probe returned a value"


def _only_inconclusive(result: GateResult, category: str) -> str:
    """The inconclusive probes of a category and what decides them; "" if one of its probes passes.

    A probe with weight 0 does not count.
    """
    own = [probe for probe in result.probes if probe.category == category and probe.weight > 0]
    if any(probe.verdict is Verdict.PASS for probe in own):
        return ""
    names_by_advice: dict[str, list[str]] = {}
    for probe in own:
        if probe.verdict is Verdict.WARN:
            names_by_advice.setdefault(one_line(probe.advice), []).append(title(probe))
    told = [
        f"{', '.join(names)}; {advice}" if advice else ", ".join(names)
        for advice, names in names_by_advice.items()
    ]
    return "; ".join(told)


def is_scored(category: Category) -> bool:
    """Whether the category has a score and a weight."""
    return category.score is not None and category.weight > 0


def diagnosis(result: GateResult) -> str:
    """The diagnosis in one line; "" if there is none."""
    if result.diagnosis is None:
        return ""
    name, sentence = one_line(result.diagnosis.name), one_line(result.diagnosis.sentence)
    return f"Diagnosis: {name}. {sentence}"


def _is_behind(result: GateResult) -> bool:
    """Whether the gate fails only because of the baseline."""
    return (
        result.verdict == "fail"
        and result.baseline is not None
        and result.baseline.verdict != "fail"
    )


def issue(probe: ProbeResult) -> str:
    """What a list of issues says about a probe: of one that passes, only what it did not judge."""
    if probe.verdict is Verdict.PASS and probe.caveat:
        return f"passes, but {one_line(probe.caveat)}"
    return probe.message


def is_failed(probe: ProbeResult) -> bool:
    """Whether the probe failed, ended in an error, or has an expired waiver."""
    return probe.verdict in (Verdict.FAIL, Verdict.ERROR) or bool(expired([probe]))


class Step(NamedTuple):
    """Advice, the probes that give it, and its page in the documentation ("" if there is none)."""

    names: str
    advice: str
    link: str = ""
    topic: str = ""
    """What `sway explain` explains: a kind of probe, the diagnosis, or the budget."""

    @property
    def about_link(self) -> str:
        """The text of the link."""
        return f"more on {self.topic}" if self.topic else "more"


def next_steps(result: GateResult) -> list[Step]:
    """Distinct advice, the most urgent first. The advice of the diagnosis precedes all others.

    What would decide an inconclusive probe is left out if others fail: they come first.
    """
    found = [(_urgency(f.level), Step("", f.remedy, links.FINDINGS)) for f in result.findings]
    failed = [probe for probe in result.probes if is_failed(probe)]
    found += [(_urgency(p.verdict), _step(p)) for p in failed or result.probes]
    if cause := result.diagnosis:
        of_files = [f.remedy for f in result.findings if f.level == "verdict"]
        advice = next(iter(of_files), cause.advice)
        found.append((-1, Step("", advice, links.diagnosis_page(cause.name), cause.name)))
    distinct: dict[str, Step] = {}
    names: dict[str, list[str]] = {}
    for _, step in sorted(found, key=lambda pair: pair[0]):
        if advice := one_line(step.advice):
            distinct.setdefault(advice, step._replace(advice=advice))
            names.setdefault(advice, []).extend([step.names] if step.names else [])
    return [step._replace(names=named(names[advice])) for advice, step in distinct.items()]


def _step(probe: ProbeResult) -> Step:
    if probe.is_left_out:
        return Step(probe.name, probe.advice, links.BUDGET, "budget")
    return Step(probe.name, probe.advice, links.probe_page(probe.kind), links.topic(probe.kind))


def _urgency(level: str) -> int:
    return _URGENCY.get(level, 3)


def most_severe_first(probes: Sequence[ProbeResult]) -> list[ProbeResult]:
    """Sort the probes by the severity of their verdict; otherwise keep their order."""
    return sorted(probes, key=lambda probe: _urgency(probe.verdict))


def not_passed_first(rows: Sequence[Row], verdicts: Sequence[object], limit: int) -> list[Row]:
    """At most `limit` rows, in their order; if there are more, passes are omitted first."""
    ranked = sorted(range(len(rows)), key=lambda i: verdicts[i] == "pass")
    return [rows[i] for i in sorted(ranked[:limit])]


def title(probe: "ProbeResult | Change | Course") -> str:
    """The probe's name, followed by its kind if they differ."""
    name, kind = one_line(probe.name), one_line(probe.kind)
    return name if kind in ("", name) else f"{name} ({kind})"


def subject(model: ModelFacts) -> str:
    """What was judged."""
    return "fine-tuned model" if model.is_full else "adapter"


def null_adapters(result: GateResult) -> str:
    """Number and kind of the null adapters, or the reason why there are none."""
    if result.nulls:
        runs = result.nulls.runs
        drawn = max((probe.n_null for probe in result.probes), default=runs)
        of_all = f"{drawn} of " if drawn < runs else ""
        return f"{of_all}{counted(runs, 'null adapter')} ({result.nulls.null})"
    return "no null adapters" if result.device else "no model was loaded"


def setting(result: GateResult) -> list[str]:
    """Tier, determinism, device, dtype and seed, as far as they are known."""
    facts = (
        f"{result.tier} tier",
        result.determinism,
        result.device,
        result.dtype,
        f"seed {result.seed}",
    )
    return [fact for fact in facts if fact]


def sigmas(z: float | None) -> str:
    """Format a z-score; ``–`` if there is none."""
    return "–" if z is None or not math.isfinite(z) else f"{signed(z, 1)}σ"


# stats.Z_95, without numpy: a larger distance means that the bound is inside its limit.
_INSIDE = 1.6448536269514722


def is_bounded(probe: ProbeResult) -> bool:
    """Whether z is the distance of a bound to its limit; otherwise it is a significance."""
    return None not in (probe.bound, probe.margin, probe.z) and probe.p is None


def evidence(probe: ProbeResult) -> str:
    """The number that argues for the verdict: of a rule that does not hold, of z, or of a bound.

    With the name of the quantity if it is not the probe's value.
    """
    if not probe.rules:
        return _evidence_without_rules(probe)
    significance = next((rule for rule in probe.rules if rule.name == "z"), None)
    if significance and probe.verdict is Verdict.PASS:
        return sigmas(significance.value)
    decisive = probe.rules[0]
    text = compared(decisive, limit_word(probe))
    is_other = decisive.name not in ("z", "shape") and not _is_of(decisive, probe.raw)
    separator = " " if text.startswith(("≤", "≥")) else ": "
    return f"{one_line(decisive.name)}{separator}{text}" if is_other else text


def _is_of(rule: Rule, value: float | None) -> bool:
    """Whether the rule tests this value; True if one of the two is unknown."""
    if rule.value is None or value is None:
        return True
    return math.isclose(rule.value, value, rel_tol=1e-6, abs_tol=1e-12)


def verdict_word(result: GateResult) -> str:
    """The verdict as a heading. `sway check` without data never says PASS: it did not judge what
    the adapter learned."""
    is_judged = any(probe.category == "attribution" for probe in result.probes)
    if result.spec == CHECK and result.verdict == "pass" and not is_judged:
        return "MOVED"
    return result.verdict.upper()


def limit_word(probe: ProbeResult) -> str:
    """What a limit of the probe is called: of a harm a margin."""
    is_effect = probe.category in _EFFECTS or any(rule.name == "z" for rule in probe.rules)
    return "limit" if is_effect else "margin"


_EFFECTS: Final = ("attribution", "ablation")
"""Categories without harms; in the others, a probe without a significance is a harm."""


def compared(rule: Rule, word: str) -> str:
    """The value of a rule compared with its limit: "0.31 > margin 0.15", "≤ 0.11, margin 0.15"."""
    if rule.limit is None or rule.value is None:
        return rule_name(rule)
    if rule.name == "z":
        is_met = rule.verdict is Verdict.PASS
        return f"{sigmas(rule.value)} {'≥' if is_met else '<'} {number(rule.limit)}σ"
    if rule.verdict is Verdict.FAIL:
        value, limit = distinct(rule.value, rule.limit)
        return f"{value} {'>' if rule.is_upper else '<'} {word} {limit}"
    if rule.bound is None:
        return f"no bound, {word} {number(rule.limit)}"
    bound, limit = distinct(rule.bound, rule.limit)
    return f"{'≤' if rule.is_upper else '≥'} {bound}, {word} {limit}"


def rule_name(rule: Rule) -> str:
    """The tested quantity; the text of a rule without numbers, or "fixed rule" if it has none."""
    return (one_line(rule.text) or "fixed rule") if rule.name == "shape" else rule.name


def limit_of(probe: ProbeResult, value: float) -> Rule | None:
    """The rule that compares this value with a limit."""
    of_limit = (rule for rule in probe.rules if rule.name != "z" and rule.limit is not None)
    return next((r for r in of_limit if r.value is not None and _is_of(r, value)), None)


def limit_at_one(probe: ProbeResult, response: Response) -> Rule | None:
    """The rule of the response at scale 1, unless another rule decides: a limit that holds would
    argue against the verdict."""
    at_one = dict(zip(response.lambdas, response.curve, strict=False)).get(1)
    rule = None if at_one is None else limit_of(probe, at_one)
    return rule if rule and rule.verdict == probe.verdict else None


def p_text(probe: ProbeResult) -> str:
    """p, unless n null adapters cannot give a p below 0.05."""
    return number(None if 0 < probe.n_null < _INFORMATIVE_NULLS else probe.p, 2)


_INFORMATIVE_NULLS: Final = 19


def percent(share: float | None) -> str:
    """A share with one decimal if it is not whole, so that the weights add up."""
    if share is None:
        return "–"
    return f"{share:.1%}".replace(".0%", "%")


def _evidence_without_rules(probe: ProbeResult) -> str:
    """The evidence in a report of an older version."""
    if not is_bounded(probe) or probe.bound is None or probe.margin is None:
        is_against = probe.verdict is Verdict.FAIL and (probe.z or 0.0) > _INSIDE
        return "–" if is_against else sigmas(probe.z)
    is_inside = probe.z is not None and probe.z > _INSIDE
    sign = "≤" if (probe.bound < probe.margin) == is_inside else "≥"
    bound, margin = distinct(probe.bound, probe.margin)
    return f"{sign} {bound}, margin {margin}"


def ranks(z_by_rank: Mapping[str, float]) -> list[tuple[float, float]]:
    """(Variance multiplier of the nulls, z) pairs in ascending order.

    At most 12 entries; non-numeric keys are dropped.
    """
    known = ((_positive(key), z) for key, z in z_by_rank.items())
    return sorted((rank, z) for rank, z in known if rank and math.isfinite(z))[:12]


def _positive(text: str) -> float:
    """Parse a number; 0 if it is not a positive finite number."""
    try:
        value = float(text)
    except ValueError:
        return 0.0
    return value if 0 < value < math.inf else 0.0


def right_name(one: Exchange) -> str:
    """What the right text of an exchange is."""
    return "training text" if one.finding.startswith(RECITED) else "true answer"


def sentence(text: str) -> str:
    """Capitalize `text`, unless it begins with a name such as lora_A."""
    is_word = text.partition(" ")[0].rstrip(",;:").replace("-", "").isalpha()
    return text[:1].upper() + text[1:] if is_word else text


def interval(bounds: tuple[float, float] | None) -> str:
    """Format an interval; "" if there is none."""
    return f"[{number(bounds[0])}, {number(bounds[1])}]" if bounds else ""


def in_units(value: float | None, units: str) -> str:
    """Format a value with its units; ``–`` if there is none."""
    return "–" if value is None else f"{number(value)} {one_line(units)}".rstrip()
