"""Pictures of a number over results or steps, as SVG; drawn without matplotlib."""

from collections.abc import Sequence
from itertools import pairwise
from typing import NamedTuple

WIDTH, HEIGHT = 350, 130
_LEFT, _RIGHT, _TOP, _BOTTOM = 52, 8, 8, 22
AREA = {
    "width": WIDTH,
    "height": HEIGHT,
    "left": _LEFT,
    "top": _TOP,
    "bottom": HEIGHT - _BOTTOM,
    "right": WIDTH - _RIGHT,
}
"""The area of a picture, for templates."""


class Mark(NamedTuple):
    """One value. `x` is from 0 to 1. `is_joined`: it can be compared with the value before."""

    x: float
    value: float
    verdict: str
    text: str
    is_joined: bool = True


class Dot(NamedTuple):
    """One value, in pixels."""

    x: float
    y: float
    verdict: str
    text: str


class Plot(NamedTuple):
    """A picture. `lines`: comparable neighbours; `breaks`: x between all others."""

    title: str
    ends: str
    notes: list[str]
    dots: list[Dot]
    lines: list[tuple[float, float, float, float]]
    breaks: list[float]
    limit: float | None
    """y of the threshold."""
    low: float
    high: float
    radius: float


def plot(
    title: str,
    ends: str,
    notes: list[str],
    marks: Sequence[Mark],
    limit: float | None = None,
    high: float | None = None,
) -> Plot:
    """Draw the values on a scale that contains 0 and `high`."""
    values = [mark.value for mark in marks]
    low, top = min([0.0, *values]), max([0.0, *values]) if high is None else high
    top = top if top > low else low + 1.0

    def y(value: float) -> float:
        return _TOP + (HEIGHT - _TOP - _BOTTOM) * (1 - (value - low) / (top - low))

    room = WIDTH - _LEFT - _RIGHT - 12
    dots = [Dot(_LEFT + 6 + room * m.x, y(m.value), m.verdict, m.text) for m in marks]
    pairs = list(pairwise(zip(dots, marks, strict=True)))
    return Plot(
        title=title,
        ends=ends,
        notes=notes,
        dots=dots,
        lines=[(a.x, a.y, b.x, b.y) for (a, _), (b, mark) in pairs if mark.is_joined],
        breaks=[(a.x + b.x) / 2 for (a, _), (b, mark) in pairs if not mark.is_joined],
        limit=y(limit) if limit is not None else None,
        low=low,
        high=top,
        radius=min(4.0, max(1.5, 150 / max(len(marks), 1))),
    )
