"""The report as one HTML page: no script, nothing from elsewhere, light and dark, on screen and on paper.

The template shows what this module chose; it escapes every text, after `clean`. At most MAX_BYTES long: what does not
fit is cut, step by step, with a note.
"""

import html as stdlib_html
import re
from collections.abc import Iterator, Sequence
from functools import lru_cache
from typing import TYPE_CHECKING, Any, NamedTuple

from sway_gate.reports.details import Fact, Table, is_number, label, pieces
from sway_gate.reports.html.figures import INSTALL, Figure, available, figures
from sway_gate.reports.html.tables import Bar, Grid, Texts, grid, overlap, texts
from sway_gate.reports.wording import (
    LEVEL_WORDS,
    gravest_first,
    grounds,
    headline,
    in_units,
    interval,
    next_steps,
    ranks,
    score_text,
    seconds,
    sentence,
    sigmas,
)
from sway_gate.results import GateResult, ModelFacts, ProbeResult, Verdict
from sway_gate.text import clean, counted, cut, number

if TYPE_CHECKING:
    from jinja2 import Template

MAX_BYTES = 500_000


class Limits(NamedTuple):
    """How much of a result is shown: probes, entries of each list in their details, of each other list, characters of
    each text, bytes of pictures."""

    probes: int
    details: int
    entries: int
    chars: int
    pictures: int


# Each shows less than the one before; under the last, no result reaches MAX_BYTES.
LIMITS = (
    Limits(200, 400, 100, 4000, 250_000),
    Limits(200, 100, 50, 1000, 150_000),
    Limits(100, 20, 20, 300, 80_000),
    Limits(30, 0, 10, 100, 0),
)
_MOST_CELLS = 40_000  # of tables: more than a page of MAX_BYTES holds


class Shown(NamedTuple):
    """One probe as the template shows it."""

    probe: ProbeResult
    question: str
    facts: list[Fact]
    more_facts: list[Fact]
    pictures: list[Figure]
    is_without_pictures: bool
    """Whether some were left out for their length."""
    lists: list[Grid | Texts]


def render(result: GateResult) -> str:
    """The page, at most MAX_BYTES of UTF-8."""
    probes = gravest_first(result.probes)[: LIMITS[0].probes]
    drawn = list(_drawn(probes, LIMITS[0].pictures))
    page = ""
    for limits in LIMITS:
        views = _views(probes, drawn, limits)
        if sum(_cells(view) for view in views) <= _MOST_CELLS:
            page = _page(result, views, limits)
            if len(page.encode()) <= MAX_BYTES:
                break
    return page


def notebook(result: GateResult) -> str:
    """The page in a frame of its own, for notebooks; where frames are not shown, the verdict in a line."""
    frame = 'style="width:100%;height:720px;border:1px solid #8888;border-radius:6px" sandbox="" title="sway-gate report"'
    page, line = (stdlib_html.escape(text) for text in (render(result), clean(headline(result))))
    return f'<iframe srcdoc="{page}" {frame}>{line}</iframe>'


def _page(result: GateResult, views: Sequence[Shown], limits: Limits) -> str:
    return _template(limits.chars).render(
        result=result,
        cut_to=f"{MAX_BYTES // 1000} KB" if limits != LIMITS[0] else "",
        views=views,
        probes_left_out=len(result.probes) - len(views),
        why=_why(result),
        levels=LEVEL_WORDS,
        tally=_tally(result.probes),
        categories=_composite(result, limits.entries),
        total=_share_bar(result.score),
        threshold=100 * min(max(result.threshold, 0.0), 1.0),
        steps=next_steps(result)[: limits.entries],
        entries=limits.entries,
        measured=list(_measured(result)),
        install=""
        if available() or not any(probe.null_values for probe in result.probes)
        else INSTALL,
    )


def _views(
    probes: Sequence[ProbeResult], drawn: Sequence[list[Figure] | None], limits: Limits
) -> list[Shown]:
    room = limits.pictures
    views = []
    for probe, pictures in zip(probes[: limits.probes], drawn, strict=False):
        room -= _size(pictures or [])
        views.append(_shown(probe, pictures if room >= 0 else None, limits))
    return views


def _shown(probe: ProbeResult, pictures: list[Figure] | None, limits: Limits) -> Shown:
    found = list(pieces(probe.details, limits.details))
    is_open = probe.verdict in (Verdict.FAIL, Verdict.ERROR, Verdict.WARN)
    return Shown(
        probe,
        _question(probe.kind),
        list(_facts(probe)),
        [piece for piece in found if isinstance(piece, Fact)],
        pictures or [],
        pictures is None,
        [
            grid(p, is_open) if isinstance(p, Table) else texts(p, is_open)
            for p in found
            if not isinstance(p, Fact)
        ],
    )


def _cells(view: Shown) -> int:
    sizes = (
        len(p.rows) * len(p.head) if isinstance(p, Grid) else 4 * len(p.passages.entries)
        for p in view.lists
    )
    return len(view.more_facts) + sum(sizes)


@lru_cache(maxsize=len(LIMITS))
def _template(chars: int) -> "Template":
    """The template whose texts are cleaned, cut to `chars` characters and escaped."""
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
        "score": score_text,
        "sentence": sentence,
        "sigmas": sigmas,
    }
    return environment.get_template("report.html.j2")


def _drawn(probes: Sequence[ProbeResult], room: int) -> Iterator[list[Figure] | None]:
    """The pictures of each probe, until `room` bytes are full; None from then on."""
    for probe in probes:
        made = None if room <= 0 else figures(probe) if available() else []
        room -= _size(made or [])
        yield made


def _size(pictures: Sequence[Figure]) -> int:
    return sum(len(figure.svg) for figure in pictures)


@lru_cache(maxsize=64)
def _question(kind: str) -> str:
    """What a probe of this kind asks; "" for a kind of another version."""
    from sway_gate.probes import docs as probe_docs

    return probe_docs.probe_doc(kind).question if kind in probe_docs.kinds() else ""


# What is said


def _why(result: GateResult) -> str:
    """What stands behind the verdict, in a sentence."""
    if result.verdict == "pass":
        return "No probe fails, and the composite reaches its threshold."
    return sentence(grounds(result)[0]).removesuffix(".") + "."


def _tally(probes: Sequence[ProbeResult]) -> list[tuple[str, str]]:
    """How many probes ended in each verdict: [(verdict, words)], in the verdicts' order."""
    words = {
        "pass": "pass",
        "fail": "fail",
        "warn": "inconclusive",
        "skip": "skipped",
        "error": "could not run",
    }
    counts = {
        verdict.value: sum(probe.verdict is verdict for probe in probes) for verdict in Verdict
    }
    return [(verdict, f"{count} {words[verdict]}") for verdict, count in counts.items() if count]


def _composite(result: GateResult, entries: int) -> list[tuple[str, float | None, Bar, str]]:
    """(category, score, its bar, weight in percent of those that count), in order."""
    categories = list(result.categories.items())[:entries]
    total = sum(category.weight for _, category in categories if category.score is not None)
    return [
        (
            name,
            category.score,
            _share_bar(category.score),
            f"{100 * category.weight / total:.0f} %"
            if total and category.score is not None
            else "–",
        )
        for name, category in categories
    ]


def _share_bar(score: float | None) -> Bar:
    return Bar(0.0, 100 * min(max(score or 0.0, 0.0), 1.0), 0.0)


def _facts(probe: ProbeResult) -> Iterator[Fact]:
    """The probe's numbers, each in words that say what it is of."""
    if probe.raw is not None:
        yield Fact("value", in_units(probe.raw, probe.units))
    if probe.ci_95:
        yield Fact("95 % interval", interval(probe.ci_95))
    is_harm = probe.null_z is not None
    if probe.effect_ok is not None:
        yield Fact(
            "margin" if is_harm else "fixed rule", "holds" if probe.effect_ok else "does not hold"
        )
    if is_harm:
        if probe.bound is not None:
            yield Fact("95 % bound", f"{number(probe.bound)}, margin {number(probe.margin)}")
        yield Fact("distance to the margin", f"{sigmas(probe.z)} (standard errors)")
        yield Fact("z against the nulls", sigmas(probe.null_z))
    elif probe.z is not None:
        yield Fact("z against the nulls" if probe.n_null else "z", sigmas(probe.z))
    if probe.test_statistic is not None:
        yield Fact("test statistic", number(probe.test_statistic))
    if probe.p is not None:
        yield Fact("p, Monte Carlo", number(probe.p, 2))
    if known := ranks(probe.z_by_rank):
        yield Fact(
            "z by variance of the nulls",
            " · ".join(f"{sigmas(z)} at {rank:g}×" for rank, z in known),
        )
    if probe.n_null:
        values = sorted(value for value in probe.null_values[:256] if is_number(value))
        yield Fact(counted(probe.n_null, "null adapter"), " · ".join(map(number, values)))
    elif probe.raw is not None:
        yield Fact("null adapters", "none: no calibration")
    score = f"{score_text(probe.score)}, weight {number(probe.weight)} in {probe.category}"
    yield Fact("score", score if probe.score is not None else "none: not scored")
    if probe.line is not None:
        yield Fact("line of the spec", str(probe.line))


def _measured(result: GateResult) -> Iterator[Fact]:
    """Who was judged, and how."""
    yield from _model("adapter", result.adapter)
    yield from _model("base", result.base)
    yield Fact("spec", result.spec)
    yield Fact("calibration", _calibration(result))
    setting = (result.determinism, result.device, result.dtype, f"seed {result.seed}")
    yield Fact("setting", " · ".join(filter(None, setting)))
    yield Fact(
        "versions",
        " · ".join(f"{name} {version}" for name, version in list(result.versions.items())[:40]),
    )
    phases = ", ".join(
        f"{name} {number(value)}"
        for name, value in list(result.timing.items())[:12]
        if name != "total"
    )
    yield Fact("time", f"{seconds(result.timing):.1f} s" + (f" ({phases})" if phases else ""))
    if result.cached:
        yield Fact("cached", "yes: measured before, of the same files")


def _model(name: str, facts: ModelFacts) -> Iterator[Fact]:
    yield Fact(name, facts.path)
    if facts.revision:
        yield Fact(f"{name} revision", facts.revision)
    if facts.digest:
        yield Fact(f"{name} sha256", facts.digest)


def _calibration(result: GateResult) -> str:
    nulls = result.nulls
    if nulls is None:
        return "no null adapters" if result.device else "no model was loaded"
    drawn = f"{counted(nulls.runs, 'null adapter')} ({nulls.null}), seeds from {nulls.seed_base}"
    multipliers = ", ".join(f"{multiplier:g}×" for multiplier in nulls.rank_multipliers[:12])
    return drawn + (f", variance {multipliers}" if len(nulls.rank_multipliers) > 1 else "")
