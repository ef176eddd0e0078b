"""The history as one HTML page, with a picture of each number."""

from sway_gate.compare.history import Course, History
from sway_gate.reports.history import ends, summary, title, turns
from sway_gate.reports.html.figures import is_drawable
from sway_gate.reports.html.page import template
from sway_gate.reports.html.plots import AREA, Mark, Plot, plot
from sway_gate.text import number

MAX_DOTS = 4000
MAX_CHARS = 300


def render(found: History) -> str:
    """Render the page."""
    courses = [found.composite, *found.probes]
    shown = courses[: max(MAX_DOTS // len(found.results), 1)]
    return template(MAX_CHARS, "history.html.j2").render(
        found=found,
        summary=summary(found),
        plots=[_plot(own, found) for own in shown],
        left_out=len(courses) - len(shown),
        first=found.results[0].label,
        last=found.results[-1].label if len(found.results) > 1 else "",
        **AREA,
    )


def _plot(course: Course, found: History) -> Plot:
    is_composite = course is found.composite
    return plot(
        title(course),
        ends(course),
        turns(course, found.results),
        _marks(course, found),
        limit=found.results[-1].threshold if is_composite else None,
        high=1.0 if is_composite else None,
    )


def _marks(course: Course, found: History) -> list[Mark]:
    """Each drawable value; it is joined to the last one if all values since can be compared."""
    marks = []
    is_joined = True
    count = len(found.results)
    for i, (own, entry) in enumerate(zip(course.values, found.results, strict=True)):
        is_joined = is_joined and own.is_comparable
        if not is_drawable(own.value):
            continue
        shown = f"{entry.label}: {number(own.value)}, {own.verdict}"
        x = i / (count - 1) if count > 1 else 0.5
        marks.append(Mark(x, own.value, own.verdict, shown, is_joined))
        is_joined = True
    return marks
