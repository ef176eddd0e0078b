"""The report as one HTML page without external resources, for screens and printing.

Its only script filters the probes and copies texts; the policy of the page allows no other one.
The template escapes every text, after `clean`. A page has at most MAX_BYTES: longer ones are
shortened with stricter `Limits`, and a note says so.
"""

import base64
import hashlib
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from functools import lru_cache
from typing import TYPE_CHECKING, Any, NamedTuple

from sway_gate.judge.composite import effective_weights
from sway_gate.reports.details import CURVE, Fact, Passages, Table, label, pieces
from sway_gate.reports.html.figures import INSTALL, Figure, available, figures
from sway_gate.reports.html.tables import Bar, Grid, Texts, grid, overlap, texts
from sway_gate.reports.links import probe_page
from sway_gate.reports.wording import (
    LEVEL_WORDS,
    compared,
    evidence,
    grounds,
    in_units,
    interval,
    is_bounded,
    is_failed,
    limit_word,
    most_severe_first,
    next_steps,
    null_adapters,
    p_text,
    percent,
    ranks,
    reasons,
    right_name,
    rule_name,
    score_text,
    seconds,
    sentence,
    setting,
    sigmas,
    subject,
    verdict_word,
)
from sway_gate.results import GateResult, ModelFacts, ProbeResult, Verdict
from sway_gate.text import clean, counted, cut, is_number, number

if TYPE_CHECKING:
    from jinja2 import Template

MAX_BYTES = 500_000


class Limits(NamedTuple):
    """Maximum size of the parts of a page."""

    probes: int
    details: int
    """Entries per list in a probe's details."""
    entries: int
    """Entries per other list."""
    chars: int
    """Characters per text."""
    pictures: int
    """Bytes of all pictures."""


# Increasingly strict; with the last, no result reaches MAX_BYTES.
LIMITS = (
    Limits(200, 400, 100, 4000, 250_000),
    Limits(200, 100, 50, 1000, 150_000),
    Limits(100, 20, 20, 300, 80_000),
    Limits(30, 0, 10, 100, 0),
)
_MAX_CELLS = 40_000  # of tables; a page with more would exceed MAX_BYTES


class Shown(NamedTuple):
    """One probe, prepared for the template."""

    probe: ProbeResult
    weight: str
    """Its share of the composite."""
    marks: str
    """Names of the filters that show it, separated by spaces."""
    link: str
    is_open: bool
    question: str
    facts: list[Fact]
    more_facts: list[Fact]
    pictures: list[Figure]
    is_without_pictures: bool
    """Whether pictures were omitted for length."""
    lists: list[Grid | Texts]


def render(result: GateResult) -> str:
    """Render the page, at most MAX_BYTES of UTF-8."""
    probes = most_severe_first(result.probes)[: LIMITS[0].probes]
    drawn = list(_drawn(probes, LIMITS[0].pictures))
    page = ""
    for limits in LIMITS:
        views = _views(result, probes, drawn, limits)
        if sum(_cells(view) for view in views) <= _MAX_CELLS:
            page = _page(result, views, limits)
            if len(page.encode()) <= MAX_BYTES:
                break
    return page


def _page(result: GateResult, views: Sequence[Shown], limits: Limits) -> str:
    return template(limits.chars).render(
        result=result,
        subject=subject(result.adapter),
        cut_to=f"{MAX_BYTES // 1000} KB" if limits != LIMITS[0] else "",
        views=views,
        probes_left_out=len(result.probes) - len(views),
        why=_why(result),
        script=script(),
        script_hash=_policy_hash(script()),
        filters=_filters(result),
        levels=LEVEL_WORDS,
        tally=_tally(result.probes),
        categories=_composite(result, limits.entries),
        total=_share_bar(result.score),
        threshold=100 * min(max(result.threshold, 0.0), 1.0),
        steps=next_steps(result)[: limits.entries],
        entries=limits.entries,
        measured=list(_measured(result)),
        install=_install(result.probes),
    )


def _install(probes: Sequence[ProbeResult]) -> str:
    """Command that installs the package for pictures; "" if it is installed or not needed."""
    if available() or not any(probe.null_values for probe in probes):
        return ""
    return INSTALL


def _views(
    result: GateResult,
    probes: Sequence[ProbeResult],
    drawn: Sequence[list[Figure] | None],
    limits: Limits,
) -> list[Shown]:
    room = limits.pictures
    views = []
    _, weights = effective_weights(result)
    changed = _changed(result)
    for probe, pictures in zip(probes[: limits.probes], drawn, strict=False):
        room -= _size(pictures or [])
        view = _shown(probe, pictures if room >= 0 else None, limits)
        filters = {"failed": is_failed(probe), "changed": probe.name in changed}
        marks = " ".join(name for name, is_shown in filters.items() if is_shown)
        views.append(view._replace(weight=percent(weights.get(probe.name)), marks=marks))
    return views


def _changed(result: GateResult) -> set[str]:
    """Names of the probes that are worse than the baseline."""
    return {worse.name for worse in result.baseline.regressions} if result.baseline else set()


def _filters(result: GateResult) -> list[tuple[str, str]]:
    """(Value, name) of each choice of the probes that are shown; only "all" if no probe failed."""
    failed = [("failed", "Failed")] if any(map(is_failed, result.probes)) else []
    changed = [("changed", "Worse than the baseline")] if _changed(result) else []
    return [("all", "All"), *failed, *changed]


def _shown(probe: ProbeResult, pictures: list[Figure] | None, limits: Limits) -> Shown:
    is_open = is_failed(probe) or probe.verdict is Verdict.WARN
    facts: list[Fact] = []
    lists: list[Grid | Texts] = []
    for piece in pieces(probe.details, limits.details):
        match piece:
            case Fact():
                facts.append(piece)
            case Table():
                is_drawn = bool(pictures) and piece.columns[0] in CURVE
                lists.append(grid(piece, is_open and not is_drawn))
            case Passages():
                lists.append(texts(piece, is_open))
    return Shown(
        probe=probe,
        weight="–",
        marks="",
        link=probe_page(probe.kind),
        is_open=probe.verdict is not Verdict.PASS,
        question=_question(probe.kind),
        facts=list(_facts(probe)),
        more_facts=facts,
        pictures=pictures or [],
        is_without_pictures=pictures is None,
        lists=lists,
    )


def _cells(view: Shown) -> int:
    count = len(view.more_facts)
    for shown in view.lists:
        if isinstance(shown, Grid):
            count += len(shown.rows) * len(shown.head)
        else:
            count += 4 * len(shown.passages.entries)
    return count


@lru_cache
def script() -> str:
    """The script of every page."""
    from jinja2 import Environment, PackageLoader

    return PackageLoader(__package__).get_source(Environment(autoescape=True), "report.js")[0]


def _policy_hash(text: str) -> str:
    """The source of an inline script in a Content-Security-Policy."""
    return f"sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}"


@lru_cache(maxsize=len(LIMITS) + 1)
def template(chars: int, name: str = "report.html.j2") -> "Template":
    """Template that cleans, truncates (to `chars` characters) and escapes all texts."""
    from jinja2 import Environment, PackageLoader, StrictUndefined

    def shown(value: Any) -> Any:
        is_text = isinstance(value, str) and not hasattr(value, "__html__")
        return cut(clean(cut(value, chars)), chars) if is_text else value

    environment = Environment(
        loader=PackageLoader(__package__),
        autoescape=True,
        undefined=StrictUndefined,
        finalize=shown,
        trim_blocks=True,
        lstrip_blocks=True,
    )

    escape, markup = environment.filters["e"], environment.filters["safe"]

    def breakable(text: str) -> Any:
        return markup(re.sub(r"([_/\\-])(?=\w)", r"\1<wbr>", str(escape(shown(text)))))

    environment.filters |= {
        "breakable": breakable,
        "in_units": in_units,
        "interval": interval,
        "label": label,
        "number": number,
        "overlap": overlap,
        "pairs": dict,
        "percent": "{:.1f}%".format,
        "pixels": "{:.1f}".format,
        "short": lambda text: cut(text, 24),
        "score": score_text,
        "share": _share_bar,
        "sentence": sentence,
        "evidence": evidence,
        "right_name": right_name,
        "verdict_word": verdict_word,
    }
    return environment.get_template(name)


def _drawn(probes: Sequence[ProbeResult], room: int) -> Iterator[list[Figure] | None]:
    """Pictures of each probe; None for probes after `room` bytes are used up."""
    for probe in probes:
        if room <= 0:
            yield None
            continue
        made = figures(probe) if available() else []
        room -= _size(made)
        yield made


def _size(pictures: Sequence[Figure]) -> int:
    return sum(len(figure.svg) for figure in pictures)


@lru_cache(maxsize=64)
def _question(kind: str) -> str:
    """The question that probes of this kind answer; "" for an unknown kind."""
    from sway_gate.probes.docs import probe_doc
    from sway_gate.spec.probes import KINDS

    return probe_doc(kind).question if kind in KINDS else ""


# Texts


def _why(result: GateResult) -> str:
    """Reason for the verdict, as a sentence."""
    if result.verdict == "pass":
        reached = ", and the composite reaches its threshold" if result.threshold else ""
        passed = f"No probe fails{reached}"
        return "; ".join([passed, *reasons(result)[1:]]) + "."
    return sentence(grounds(result)[0]).removesuffix(".") + "."


def _tally(probes: Sequence[ProbeResult]) -> list[tuple[str, str]]:
    """(Verdict, number of probes with it as text), without verdicts that do not occur."""
    words = {
        Verdict.PASS: "pass",
        Verdict.FAIL: "fail",
        Verdict.WARN: "inconclusive",
        Verdict.SKIP: "skipped",
        Verdict.ERROR: "could not run",
        Verdict.WAIVED: "waived",
    }
    counts = Counter(probe.verdict for probe in probes)
    return [
        (verdict, f"{counts[verdict]} {words[verdict]}") for verdict in Verdict if counts[verdict]
    ]


def _composite(result: GateResult, entries: int) -> list[tuple[str, float | None, Bar, str]]:
    """(Category, score, bar, weight in percent of the categories with a score)."""
    categories = list(result.categories.items())[:entries]
    total = sum(category.weight for _, category in categories if category.score is not None)
    rows = []
    for name, category in categories:
        is_counted = total and category.score is not None
        weight = percent(category.weight / total) if is_counted else "–"
        rows.append((name, category.score, _share_bar(category.score), weight))
    return rows


def _share_bar(score: float | None) -> Bar:
    return Bar(0.0, 100 * min(max(score or 0.0, 0.0), 1.0), 0.0)


def _facts(probe: ProbeResult) -> Iterator[Fact]:
    """The probe's numbers with their names."""
    if probe.raw is not None:
        yield Fact("value", in_units(probe.raw, probe.units))
    if probe.ci_95:
        yield Fact("95% interval", interval(probe.ci_95))
    for rule in probe.rules:
        verdict = {Verdict.FAIL: "violated", Verdict.WARN: "inconclusive"}.get(rule.verdict, "kept")
        numbers = "" if rule.limit is None else f"{compared(rule, limit_word(probe))}: "
        yield Fact(rule_name(rule), f"{numbers}{verdict}")
    if not probe.rules and (is_bounded(probe) or probe.z is not None):
        yield Fact("decided by", evidence(probe))
    if probe.test_statistic is not None:
        yield Fact("test statistic", number(probe.test_statistic))
    if (p := p_text(probe)) != "–":
        yield Fact("p", p)
    if known := ranks(probe.z_by_rank):
        zs = " · ".join(f"{sigmas(z)} at {rank:g}×" for rank, z in known)
        yield Fact("z by null variance", zs)
    if probe.n_null:
        values = sorted(value for value in probe.null_values[:256] if is_number(value))
        yield Fact(counted(probe.n_null, "null adapter"), " · ".join(map(number, values)))
    elif probe.raw is not None and probe.z is None:
        yield Fact("null adapters", "none: no calibration")
    yield Fact("score", score_text(probe.score) if probe.score is not None else "none: not scored")
    if probe.line is not None:
        yield Fact("line in the spec", str(probe.line))


def _measured(result: GateResult) -> Iterator[Fact]:
    """Models and settings of the run."""
    yield from _model(subject(result.adapter), result.adapter)
    yield from _model("base", result.base)
    yield Fact("spec", result.spec)
    yield Fact("calibration", _calibration(result))
    yield Fact("setting", " · ".join(setting(result)))
    versions = [f"{name} {version}" for name, version in result.versions.items()]
    yield Fact("versions", " · ".join(versions[:40]))
    timing = list(result.timing.items())[:12]
    phases = ", ".join(f"{name} {number(value)}" for name, value in timing if name != "total")
    yield Fact("time", f"{seconds(result.timing):.1f} s" + (f" ({phases})" if phases else ""))
    if result.cached:
        yield Fact("cached", "yes: from an earlier run on the same files")


def _model(name: str, facts: ModelFacts) -> Iterator[Fact]:
    yield Fact(name, facts.path)
    if facts.revision:
        yield Fact(f"{name} revision", facts.revision)
    if facts.digest:
        yield Fact(f"{name} sha256", facts.digest)


def _calibration(result: GateResult) -> str:
    drawn, nulls = null_adapters(result), result.nulls
    if nulls is None:
        return drawn
    drawn += f", seeds from {nulls.seed_base}"
    if len(nulls.rank_multipliers) < 2:
        return drawn
    multipliers = ", ".join(f"{multiplier:g}×" for multiplier in nulls.rank_multipliers[:12])
    return f"{drawn}, variance {multipliers}"
