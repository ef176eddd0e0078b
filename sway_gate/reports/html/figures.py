"""Pictures of a probe's numbers as inline SVG, drawn by matplotlib if the extra viz is installed.

The colours are custom properties of the page's style sheet, so that one picture works in light and
dark mode. Text remains text. A picture does not depend on the time or on earlier pictures.
"""

import io
import math
import re
from collections.abc import Callable, Iterator, Sequence
from functools import lru_cache
from typing import TYPE_CHECKING, Any, NamedTuple, TypeGuard

from sway_gate.details import Decay, Response, TargetLosses, read
from sway_gate.reports.wording import limit_at_one, limit_of, ranks, sentence, sigmas
from sway_gate.results import ProbeResult, Rule, Verdict
from sway_gate.text import clean, counted, is_number, number, one_line

if TYPE_CHECKING:
    from matplotlib.axes import Axes

INSTALL = "pip install 'sway-gate[viz]'"

# Placeholder colours for matplotlib, and the custom properties that replace them.
_INK, _MUTED, _LINE = "#000001", "#000002", "#000003"
_OWN, _NULL, _PAPER, _FAIL = "#000004", "#000005", "#000006", "#000007"
_PROPERTIES = {
    _INK: "ink",
    _MUTED: "muted",
    _LINE: "line",
    _OWN: "own",
    _NULL: "null",
    _PAPER: "paper",
    _FAIL: "fail-bg",
}
_DPI = 72  # matplotlib's SVG resolution: a point is a pixel
_WIDTH = 350
_MARGINS = {"left": 52, "right": 14, "top": 12, "bottom": 36}  # pixels
_FONT = 11.0
_DOT = 7.0  # minimum distance in pixels of two dots that do not touch
_ROWS = 9  # height of the picture of the nulls, in rows of dots
_MANY = 256  # maximum number of null adapters in a spec
_LARGEST = 1e12
_EDGE: dict[str, Any] = {"markeredgecolor": _PAPER, "markeredgewidth": 0.7, "clip_on": False}


def is_drawable(value: object) -> TypeGuard[int | float]:
    """Whether it is a number within the range of an axis."""
    return is_number(value) and abs(value) < _LARGEST


class Figure(NamedTuple):
    """`svg` contains only numbers and words of this module; `alt` describes it as text."""

    svg: str
    caption: str
    alt: str


@lru_cache
def available() -> bool:
    """Whether matplotlib can be imported."""
    try:
        import matplotlib.figure  # noqa: F401
    except Exception:  # a broken installation raises arbitrary exceptions
        return False
    return True


def figures(probe: ProbeResult) -> list[Figure]:
    """All pictures of a probe; first the rule that decides."""
    drawn = (_among_nulls(probe), _at_limit(probe), _by_rank(probe), *_curves(probe))
    return [figure for figure in drawn if figure]


def _limit_of(probe: ProbeResult, value: float) -> Rule | None:
    rule = limit_of(probe, value)
    return rule if rule and is_drawable(rule.limit) else None


# The value and the nulls


def _among_nulls(probe: ProbeResult) -> Figure | None:
    nulls = sorted(value for value in probe.null_values[:_MANY] if is_drawable(value))
    own = probe.raw
    if own is None or not is_drawable(own) or not nulls or not _is_about_nulls(probe, own):
        return None
    bounds = [value for value in probe.ci_95 or () if is_drawable(value)]
    limit = _limit_of(probe, own)
    everything = [0.0, own, *nulls, *bounds, *([limit.limit or 0.0] if limit else [])]
    counted_nulls = counted(len(nulls), "null adapter")
    alt = (
        f"The adapter at {number(own)}; "
        f"{counted_nulls} between {number(nulls[0])} and {number(nulls[-1])}"
    )

    def draw(axes: "Axes") -> None:
        _set_range(axes, min(everything), max(everything))
        if limit:
            _draw_limit(axes, limit)
        x_pixels = axes.transData.transform([(value, 0) for value in nulls])[:, 0]
        axes.plot(nulls, _rows(x_pixels.tolist()), "o", color=_NULL, markersize=5, **_EDGE)
        _draw_estimate(axes, own, bounds, _ROWS)
        axes.set_ylim(-1.2, _ROWS + 2.2)
        axes.set_yticks([0, _ROWS], ["nulls", "adapter"])
        axes.spines["left"].set_visible(False)

    caption = f"Among {counted_nulls}" + (f", in {one_line(probe.units)}" if probe.units else "")
    if limit:
        caption += f"; the limit is {number(limit.limit)}"
        alt += f"; the limit is {number(limit.limit)}"
    return Figure(_svg(draw, "", "", 112, f"{probe.name} nulls"), caption, f"{alt}.")


def _is_about_nulls(probe: ProbeResult, value: float) -> bool:
    """Whether the value and its nulls decide: rules that hold would argue against a failure."""
    violated = [rule for rule in probe.rules if rule.verdict is Verdict.FAIL]
    return not violated or any(
        rule.name == "z" or rule == limit_of(probe, value) for rule in violated
    )


def _at_limit(probe: ProbeResult) -> Figure | None:
    """The decisive rule with a limit; None if another picture shows it."""
    rule = next((rule for rule in probe.rules if rule.name != "z"), None)
    if rule is None or rule.value is None or rule.limit is None:
        return None
    is_shown = probe.null_values and probe.raw is not None and _limit_of(probe, probe.raw) is rule
    ends = [value for value in (rule.value, rule.bound) if is_drawable(value)]
    if is_shown or not is_drawable(rule.value) or not is_drawable(rule.limit):
        return None
    value, everything = rule.value, [0.0, rule.limit, *(end or 0.0 for end in ends)]

    def draw(axes: "Axes") -> None:
        _set_range(axes, min(everything), max(everything))
        _draw_limit(axes, rule)
        _draw_estimate(axes, value, [end or 0.0 for end in ends], 0)
        axes.set_ylim(-1, 1)
        axes.set_yticks([0], ["adapter"])
        axes.spines["left"].set_visible(False)

    side = "below" if rule.is_upper else "at least"
    caption = f"{sentence(one_line(rule.name))}: must be {side} {number(rule.limit)}"
    alt = f"The adapter at {number(value)}, the limit at {number(rule.limit)}"
    return Figure(_svg(draw, "", "", 84, f"{probe.name} limit"), caption, f"{alt}.")


def _draw_estimate(axes: "Axes", value: float, interval: Sequence[float], y: float) -> None:
    if len(interval) == 2:
        bar: dict[str, Any] = {"linewidth": 2, "solid_capstyle": "butt", "clip_on": False}
        axes.plot(interval, [y, y], "-", color=_OWN, **bar)
    axes.plot(value, y, "D", color=_OWN, markersize=8, **_EDGE)


def _draw_limit(axes: "Axes", rule: Rule) -> None:
    """A line at the limit; the side that fails is shaded."""
    limit = rule.limit or 0.0
    low, high = axes.get_xlim()
    outside = (limit, high) if rule.is_upper else (low, limit)
    axes.axvspan(*outside, color=_FAIL, linewidth=0)
    axes.axvline(limit, color=_INK, linewidth=1.2, linestyle=(0, (3, 2)))
    axes.set_xlim(low, high)


def _rows(x_pixels: Sequence[float]) -> list[int]:
    """Row of each dot, for ascending x positions in pixels.

    This is the lowest row in which the dot does not touch another, otherwise the row with the most
    room.
    """
    ends = [-math.inf] * (_ROWS - 2)
    found = []
    for x in x_pixels:
        free = [row for row, end in enumerate(ends) if x - end >= _DOT]
        row = free[0] if free else ends.index(min(ends))
        ends[row] = x
        found.append(row)
    return found


def _set_range(axes: "Axes", low: float, high: float) -> None:
    """One linear scale that contains 0 and the limit, so that a negligible value looks like one."""
    from matplotlib.ticker import FuncFormatter, MaxNLocator, NullLocator

    room = 0.06 * (high - low) or 0.1 * abs(high) or 1.0
    axes.set_xlim(low - room, high + room)
    axes.xaxis.set_major_locator(MaxNLocator(5))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))


# z against nulls of other variance


def _by_rank(probe: ProbeResult) -> Figure | None:
    known = [(multiplier, z) for multiplier, z in ranks(probe.z_by_rank) if is_drawable(z)]
    if len(known) < 2:
        return None
    zs = [z for _, z in known]
    limit = next((r.limit for r in probe.rules if r.name == "z" and is_drawable(r.limit)), None)
    ends = [*zs, *([limit] if limit is not None else [])]

    def draw(axes: "Axes") -> None:
        line: dict[str, Any] = {"markersize": 6, "linewidth": 1.5, "clip_on": False}
        text: dict[str, Any] = {"textcoords": "offset points", "ha": "center", "color": _INK}
        axes.axhline(0, color=_LINE, linewidth=1)
        if limit is not None:
            axes.axhline(limit, color=_INK, linewidth=1.2, linestyle=(0, (3, 2)))
        axes.plot(range(len(zs)), zs, "-D", color=_OWN, **line)
        for x, z in enumerate(zs):
            axes.annotate(sigmas(z), (x, z), (0, 9), **text)
        axes.set_xlim(-0.5, len(zs) - 0.5)
        axes.set_ylim(min(0.0, *ends) - 0.6, max(0.0, *ends) + 0.3 * max(1.0, *map(abs, ends)))
        axes.set_xticks(range(len(zs)), [f"{multiplier:g}×" for multiplier, _ in known])

    points = ", ".join(f"{sigmas(z)} at {multiplier:g} times" for multiplier, z in known)
    alt = f"z against null adapters of other variance: {points}."
    svg = _svg(draw, "variance of the nulls", "z", 150, f"{probe.name} ranks")
    return Figure(svg, "Rank profile", alt)


# Curves


Points = list[tuple[float, float]]


class _Curves(NamedTuple):
    """One or two curves over one axis; `lines`: the label and the points of each."""

    caption: str
    x_label: str
    y_label: str
    lines: tuple[tuple[str, Points], ...]
    marks_one: bool = False
    """Whether x = 1 is marked."""
    limit: float | None = None


def _curves(probe: ProbeResult) -> Iterator[Figure | None]:
    scale = "scale of the adapter"
    if response := read(probe.details, Response):
        points = _points(response.lambdas, response.curve)
        rule = limit_at_one(probe, response)
        limit = rule.limit if rule and is_drawable(rule.limit) else None
        caption = "Change of the output by scale"
        if limit is not None:
            caption += f"; the limit at 1 is {number(limit)}"
        lines = (("", points),)
        yield _curve(probe.name, _Curves(caption, scale, "distance", lines, True, limit))
    if found := read(probe.details, TargetLosses):
        target = found.target
        losses = (
            ("its text", _points(target.lambdas, target.loss)),
            ("control prose", _points(target.lambdas, target.control_loss)),
        )
        yield _curve(probe.name, _Curves("Loss by scale", scale, "nats per token", losses, True))
    if decay := read(probe.details, Decay):
        lines = (("", _points(decay.context_lengths, decay.curve)),)
        x_label, y_label = "context tokens before the prompt", "divergence, nats"
        yield _curve(probe.name, _Curves("Divergence over context", x_label, y_label, lines))


def _curve(name: str, curves: _Curves) -> Figure | None:
    lines = [(label, points) for label, points in curves.lines if len(points) > 1]
    if not lines:
        return None

    def draw(axes: "Axes") -> None:
        if curves.marks_one:
            axes.axvline(1, color=_LINE, linewidth=1)
        if curves.limit is not None:
            axes.axhline(curves.limit, color=_INK, linewidth=1.2, linestyle=(0, (3, 2)))
        look: dict[str, Any] = {"markersize": 4.5, "linewidth": 1.5, "clip_on": False}
        styles = ((_OWN, "-D"), (_NULL, "--o"))
        lowest = 0.0
        for (label, points), (color, style) in zip(lines, styles, strict=False):
            xs, ys = zip(*points, strict=True)
            axes.plot(xs, ys, style, color=color, **look)
            axes.annotate(label, points[0], (2, 7), textcoords="offset points", color=_INK)
            lowest = min(lowest, *ys)
        axes.set_ylim(bottom=lowest)
        axes.locator_params(nbins=5)

    described = "; ".join(f"{label} {_described(points)}".strip() for label, points in lines)
    svg = _svg(draw, curves.x_label, curves.y_label, 190, f"{name} {curves.caption}")
    return Figure(svg, curves.caption, f"{curves.caption}: {described}.")


def _points(xs: Sequence[float], ys: Sequence[float]) -> Points:
    pairs = zip(xs[:_MANY], ys, strict=False)
    return sorted((x, y) for x, y in pairs if is_drawable(x) and is_drawable(y))


def _described(points: Points) -> str:
    few = points if len(points) <= 8 else (points[0], points[len(points) // 2], points[-1])
    return ", ".join(f"{number(y)} at {x:g}" for x, y in few)


# Drawing


def _svg(
    draw: Callable[["Axes"], None], x_label: str, y_label: str, height: float, salt: str
) -> str:
    """Draw a picture; its `salt` makes its ids unique in the page."""
    import matplotlib
    from matplotlib.backends.backend_svg import FigureCanvasSVG
    from matplotlib.figure import Figure as Canvas

    style: Any = {**_STYLE, "svg.hashsalt": clean(salt)}
    without_metadata: Any = dict.fromkeys(("Date", "Creator", "Format", "Type"))
    with matplotlib.rc_context(style):
        canvas = Canvas(figsize=(_WIDTH / _DPI, height / _DPI), dpi=_DPI)
        FigureCanvasSVG(canvas)
        m = _MARGINS
        size = (_WIDTH - m["left"] - m["right"], height - m["top"] - m["bottom"])
        box = (m["left"] / _WIDTH, m["bottom"] / height, size[0] / _WIDTH, size[1] / height)
        axes = canvas.add_axes(box)
        draw(axes)
        axes.set_xlabel(x_label)
        axes.set_ylabel(y_label)
        written = io.StringIO()
        canvas.savefig(written, format="svg", metadata=without_metadata)
    return _inline(written.getvalue(), height)


_STYLE: dict[str, Any] = {
    "svg.fonttype": "none",
    "text.usetex": False,
    "text.parse_math": False,
    "font.family": ["sans-serif"],
    "font.sans-serif": ["DejaVu Sans"],
    "font.size": _FONT,
    "axes.labelsize": _FONT,
    "axes.unicode_minus": True,
    "xtick.labelsize": _FONT,
    "ytick.labelsize": _FONT,
    "axes.facecolor": "none",
    "figure.facecolor": "none",
    "savefig.facecolor": "none",
    "axes.edgecolor": _LINE,
    "axes.labelcolor": _MUTED,
    "text.color": _INK,
    "xtick.color": _LINE,
    "ytick.color": _LINE,
    "xtick.labelcolor": _MUTED,
    "ytick.labelcolor": _MUTED,
    "ytick.left": False,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.xmargin": 0.05,
    "path.simplify": False,
}


def _inline(svg: str, height: float) -> str:
    """The picture as part of a page, without ids and metadata, in the page's colours and font."""
    for pattern, replacement in _REPLACED:
        svg = pattern.sub(replacement, svg)
    svg = re.sub(r"#00000\d", lambda found: f"var(--{_PROPERTIES[found[0]]})", svg)
    return f'<svg viewBox="0 0 {_WIDTH} {height:g}" width="{_WIDTH}" height="{height:g}">{svg}'


_REPLACED = (
    (re.compile(r"\A.*?<svg[^>]*>|<!--.*?-->|<metadata>.*?</metadata>", re.DOTALL), ""),
    (re.compile(r"<defs>\s*<style.*?</style>\s*</defs>", re.DOTALL), ""),
    (re.compile(r' id="[A-Za-z.]+\w*_\d+"| transform="rotate\(-?0 [^)]*\)"'), ""),
    (re.compile(r'font-family: [^;"]*; '), ""),
    (re.compile(r'font: ([\d.]+)px [^;"]*'), r"font-size: \1px"),
    (re.compile(r"(\d\.\d\d)\d+(?=[^<>]*>)"), r"\1"),
    (re.compile(r"\s*\n\s*(?=<|\Z)"), ""),
    (re.compile(r"\s*\n\s*"), " "),
    (re.compile(r'<g><path d="[^"]*" style="fill: none"/></g>'), ""),
)
