"""The ranking as one HTML page: the adapters in their order, and a picture of each curve."""

from sway_gate.compare.ranking import Curve, Ranking
from sway_gate.reports.html.figures import is_drawable
from sway_gate.reports.html.page import template
from sway_gate.reports.html.plots import AREA, Mark, Plot, plot
from sway_gate.reports.ranking import VERDICTS, badge, course, curve_title, note, remarks, title
from sway_gate.text import number

MAX_CHARS = 400


def render(found: Ranking) -> str:
    """Render the page."""
    rows = [
        (VERDICTS[e.standing], badge(e.standing), e, note(e, found.chosen)) for e in found.entries
    ]
    return template(MAX_CHARS, "ranking.html.j2").render(
        found=found,
        hero={0: "pass", 1: "fail"}.get(found.exit_code, "error"),
        title=title(found),
        remarks=remarks(found),
        rows=rows,
        units=found.measure.units if found.measure else "",
        plots=[_plot(curve) for curve in found.curves],
        first=f"step {found.curves[0].points[0].step}" if found.curves else "",
        last=f"step {found.curves[0].points[-1].step}" if found.curves else "",
        **AREA,
    )


def _plot(curve: Curve) -> Plot:
    first, last = curve.points[0].step, curve.points[-1].step
    marks = [
        Mark(
            (point.step - first) / (last - first),
            point.value,
            point.verdict,
            f"step {point.step}: {number(point.value)}, {point.verdict}",
        )
        for point in curve.points
        if is_drawable(point.value)
    ]
    return plot(curve_title(curve), curve.units, [course(curve)], marks)
