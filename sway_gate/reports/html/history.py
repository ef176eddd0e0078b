"""The history as one HTML page, with a picture of each number; drawn without matplotlib."""

from collections.abc import Sequence
from itertools import pairwise
from typing import NamedTuple

from sway_gate.compare.history import Course, History
from sway_gate.reports.history import ends, summary, title, turns
from sway_gate.reports.html.figures import is_drawable
from sway_gate.reports.html.page import template
from sway_gate.text import number

MAX_DOTS = 4000
MAX_CHARS = 300
WIDTH, HEIGHT = 350, 130
_LEFT, _RIGHT, _TOP, _BOTTOM = 52, 8, 8, 22


class Dot(NamedTuple):
    """One value, in pixels."""

    x: float
    y: float
    verdict: str
    text: str


class Plot(NamedTuple):
    """A picture of a course. `lines`: comparable neighbours; `breaks`: x between all others."""

    title: str
    ends: str
    turns: list[str]
    dots: list[Dot]
    lines: list[tuple[float, float, float, float]]
    breaks: list[float]
    limit: float | None
    """y of the threshold."""
    low: str
    high: str
    radius: float


def render(found: History) -> str:
    """Render the page."""
    courses = [found.composite, *found.probes]
    shown = courses[: max(MAX_DOTS // len(found.results), 1)]
    return template(MAX_CHARS, "history.html.j2").render(
        found=found,
        summary=summary(found),
        plots=[_plot(own, found) for own in shown],
        left_out=len(courses) - len(shown),
        width=WIDTH,
        height=HEIGHT,
        left=_LEFT,
        top=_TOP,
        bottom=HEIGHT - _BOTTOM,
        right=WIDTH - _RIGHT,
    )


def _plot(course: Course, found: History) -> Plot:
    is_composite = course is found.composite
    values = [own.value for own in course.values if is_drawable(own.value)]
    low, high = min([0.0, *values]), max([0.0, *values])
    if is_composite:
        low, high = 0.0, 1.0
    high = high if high > low else low + 1.0
    dots = _dots(course, found, low, high)
    pairs = list(pairwise(dots))
    limit = found.results[-1].threshold if is_composite else None
    return Plot(
        title=title(course),
        ends=ends(course),
        turns=turns(course, found.results),
        dots=[dot for dot, _ in dots],
        lines=[(a.x, a.y, b.x, b.y) for (a, _), (b, is_joined) in pairs if is_joined],
        breaks=[(a.x + b.x) / 2 for (a, _), (b, is_joined) in pairs if not is_joined],
        limit=_y(limit, low, high) if limit is not None else None,
        low=number(low),
        high=number(high),
        radius=min(4.0, max(1.5, 150 / len(course.values))),
    )


def _dots(course: Course, found: History, low: float, high: float) -> list[tuple[Dot, bool]]:
    """Each drawable value, and whether it can be compared with the one before."""
    dots = []
    is_joined = True
    for i, (own, entry) in enumerate(zip(course.values, found.results, strict=True)):
        is_joined = is_joined and own.is_comparable
        if not is_drawable(own.value):
            continue
        shown = f"{entry.label}: {number(own.value)}, {own.verdict}"
        x = _x(i, found.results)
        dots.append((Dot(x, _y(own.value, low, high), own.verdict, shown), is_joined))
        is_joined = True
    return dots


def _x(index: int, results: Sequence[object]) -> float:
    room = WIDTH - _LEFT - _RIGHT - 12
    return _LEFT + 6 + room * (index / (len(results) - 1) if len(results) > 1 else 0.5)


def _y(value: float, low: float, high: float) -> float:
    return _TOP + (HEIGHT - _TOP - _BOTTOM) * (1 - (value - low) / (high - low))
