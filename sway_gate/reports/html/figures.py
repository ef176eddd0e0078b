"""Pictures of a probe's numbers as inline SVG, drawn by matplotlib where the extra viz is there.

Colours are the page's own (custom properties of its style sheet), so that one picture serves light and dark; text
stays text. Nothing depends on the time or on what was drawn before.
"""

import io
import math
import re
from collections.abc import Callable, Iterator, Sequence
from functools import lru_cache
from typing import TYPE_CHECKING, Any, NamedTuple

from sway_gate.details import Decay, Response, TargetLosses, read
from sway_gate.reports.details import is_number
from sway_gate.reports.wording import ranks, sigmas
from sway_gate.results import ProbeResult
from sway_gate.text import clean, counted, number, one_line

if TYPE_CHECKING:
    from matplotlib.axes import Axes

INSTALL = "pip install 'sway-gate[viz]'"

# Stand-ins that matplotlib takes for colours, and what stands in the picture.
_INK, _MUTED, _LINE, _OWN, _NULL, _PAPER = (f"#00000{i}" for i in range(1, 7))
_PROPERTIES = dict(
    zip(
        (_INK, _MUTED, _LINE, _OWN, _NULL, _PAPER),
        ("ink", "muted", "line", "own", "null", "paper"),
        strict=True,
    )
)
_DPI = 72  # of SVG in matplotlib: a point is a pixel
_WIDTH = 350
_MARGINS = {"left": 52, "right": 14, "top": 12, "bottom": 36}  # pixels
_FONT = 11.0
_DOT = 7.0  # pixels between two dots that do not touch
_ROWS = 9  # of dots, beyond which they overlap
_MANY = 256  # null adapters, the most that a spec can ask for
_LARGEST = 1e12
_LOG_FROM = 10.0  # times the smallest value
_EDGE: dict[str, Any] = {"markeredgecolor": _PAPER, "markeredgewidth": 0.7, "clip_on": False}


def _is_drawable(value: object) -> bool:
    """Whether it is a number that axes can hold."""
    return is_number(value) and abs(value) < _LARGEST  # type: ignore[arg-type]


class Figure(NamedTuple):
    """`svg` is markup that holds no text but numbers and words of this module; `alt` says the same in words."""

    svg: str
    caption: str
    alt: str


@lru_cache
def available() -> bool:
    """Whether matplotlib loads."""
    try:
        import matplotlib.figure  # noqa: F401
    except Exception:  # broken installations break in many ways
        return False
    return True


def figures(probe: ProbeResult) -> list[Figure]:
    """All that can be drawn of a probe, where the extra is there."""
    drawn = (_among_nulls(probe), _by_rank(probe), *_curves(probe))
    return [figure for figure in drawn if figure]


# A value among the nulls


def _among_nulls(probe: ProbeResult) -> Figure | None:
    nulls = sorted(value for value in probe.null_values[:_MANY] if _is_drawable(value))
    own = probe.raw
    if own is None or not _is_drawable(own) or not nulls:
        return None
    bounds = [value for value in probe.ci_95 or () if _is_drawable(value)]
    everything = [own, *nulls, *bounds]
    is_log = min(everything) > 0 and max(everything) >= _LOG_FROM * min(everything)
    counted_nulls = counted(len(nulls), "null adapter")
    alt = f"The adapter at {number(own)}; {counted_nulls} between {number(nulls[0])} and {number(nulls[-1])}."

    def draw(axes: "Axes") -> None:
        if is_log:
            axes.set_xscale("log")
        _set_range(axes, everything, is_log)
        places = axes.transData.transform([(value, 0) for value in nulls])[:, 0]
        axes.plot(nulls, _rows(places.tolist()), "o", color=_NULL, markersize=5, **_EDGE)
        if len(bounds) == 2:
            axes.plot(
                bounds,
                [_ROWS, _ROWS],
                "-",
                color=_OWN,
                linewidth=2,
                solid_capstyle="butt",
                clip_on=False,
            )
        axes.plot(own, _ROWS, "D", color=_OWN, markersize=8, **_EDGE)
        axes.set_ylim(-1.2, _ROWS + 2.2)
        axes.set_yticks([0, _ROWS], ["nulls", "adapter"])
        axes.spines["left"].set_visible(False)

    caption = f"Among {counted_nulls}" + (f", in {one_line(probe.units)}" if probe.units else "")
    return Figure(
        _svg(draw, "logarithmic scale" if is_log else "", 112, salt=f"{probe.name} nulls"),
        caption,
        alt,
    )


def _rows(places: Sequence[float]) -> list[int]:
    """The row of each dot, of rising places in pixels: the lowest in which it touches none, or the one most free."""
    ends = [-math.inf] * (_ROWS - 2)
    found = []
    for place in places:
        free = (row for row, end in enumerate(ends) if place - end >= _DOT)
        row = next(free, min(range(len(ends)), key=lambda row: ends[row]))
        ends[row] = place
        found.append(row)
    return found


def _set_range(axes: "Axes", values: Sequence[float], is_log: bool) -> None:
    from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullLocator

    low, high = (math.log10(f(values)) if is_log else f(values) for f in (min, max))
    room = 0.06 * (high - low) or 0.1 * abs(high) or 1.0
    ends = (low - room, high + room)
    axes.set_xlim(*(10**end for end in ends) if is_log else ends)
    decades = high - low
    subs = (1, 2, 5) if decades < 1.7 else (1, 3) if decades < 2.5 else (1,)
    axes.xaxis.set_major_locator(LogLocator(subs=subs, numticks=7) if is_log else MaxNLocator(5))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))


# z against nulls of other energy


def _by_rank(probe: ProbeResult) -> Figure | None:
    known = [(multiplier, z) for multiplier, z in ranks(probe.z_by_rank) if _is_drawable(z)]
    if len(known) < 2:
        return None
    multipliers, heights = zip(*known, strict=True)

    def draw(axes: "Axes") -> None:
        axes.axhline(0, color=_LINE, linewidth=1)
        axes.plot(
            range(len(known)), heights, "-D", color=_OWN, markersize=6, linewidth=1.5, clip_on=False
        )
        for x, z in enumerate(heights):
            axes.annotate(
                sigmas(z), (x, z), (0, 9), textcoords="offset points", ha="center", color=_INK
            )
        axes.set_xlim(-0.5, len(known) - 0.5)
        axes.set_ylim(
            min(0.0, *heights) - 0.6, max(0.0, *heights) + 0.3 * max(1.0, *map(abs, heights))
        )
        axes.set_xticks(range(len(known)), [f"{multiplier:g}×" for multiplier in multipliers])

    said = ", ".join(f"{sigmas(z)} at {multiplier:g} times" for multiplier, z in known)
    alt = f"z against null adapters of other variance: {said}."
    return Figure(
        _svg(draw, "variance of the nulls", 150, "z", f"{probe.name} ranks"), "Rank profile", alt
    )


# Curves


Points = list[tuple[float, float]]


class _Curves(NamedTuple):
    """Curves over one axis; `lines`: (what stands beside the curve, its points)."""

    caption: str
    x_label: str
    y_label: str
    lines: tuple[tuple[str, Points], ...]
    marks_one: bool = False
    """Whether x = 1 is marked."""


def _curves(probe: ProbeResult) -> Iterator[Figure | None]:
    scale = "λ, scale of the adapter"
    if own := read(probe.details, Response):
        lines = (("", _points(own.lambdas, own.curve)),)
        yield _curve(probe.name, _Curves("Response over λ", scale, "distance", lines, True))
    if found := read(probe.details, TargetLosses):
        target = found.target
        losses = (
            ("its text", _points(target.lambdas, target.loss)),
            ("control prose", _points(target.lambdas, target.control_loss)),
        )
        yield _curve(probe.name, _Curves("Loss over λ", scale, "nats per token", losses, True))
    if decay := read(probe.details, Decay):
        lines = (("", _points(decay.context_lengths, decay.curve)),)
        x_label = "tokens of other text in front"
        y_label = "divergence, nats"
        yield _curve(probe.name, _Curves("Divergence behind context", x_label, y_label, lines))


def _curve(name: str, curves: _Curves) -> Figure | None:
    lines = [(label, points) for label, points in curves.lines if len(points) > 1]
    if not lines:
        return None

    def draw(axes: "Axes") -> None:
        if curves.marks_one:
            axes.axvline(1, color=_LINE, linewidth=1)
        looks = ((_OWN, "-D"), (_NULL, "--o"))
        for (label, points), (color, style) in zip(lines, looks, strict=False):
            axes.plot(
                *zip(*points, strict=True),
                style,
                color=color,
                markersize=4.5,
                linewidth=1.5,
                clip_on=False,
            )
            axes.annotate(label, points[0], (2, 7), textcoords="offset points", color=_INK)
        axes.set_ylim(bottom=min(0.0, *(y for _, points in lines for _, y in points)))
        axes.locator_params(nbins=5)

    said = "; ".join(f"{label} {_told(points)}".strip() for label, points in lines)
    svg = _svg(draw, curves.x_label, 190, curves.y_label, f"{name} {curves.caption}")
    return Figure(svg, curves.caption, f"{curves.caption}: {said}.")


def _points(xs: Sequence[float], ys: Sequence[float]) -> Points:
    pairs = zip(xs[:_MANY], ys, strict=False)
    return sorted((x, y) for x, y in pairs if _is_drawable(x) and _is_drawable(y))


def _told(points: Sequence[tuple[float, float]]) -> str:
    few = points if len(points) <= 8 else (points[0], points[len(points) // 2], points[-1])
    return ", ".join(f"{number(y)} at {x:g}" for x, y in few)


# Drawing


def _svg(
    draw: Callable[["Axes"], None], x_label: str, height: float, y_label: str = "", salt: str = ""
) -> str:
    """`salt`: what makes the ids in this picture differ from those in all others of a page."""
    import matplotlib
    from matplotlib.backends.backend_svg import FigureCanvasSVG
    from matplotlib.figure import Figure as Canvas

    style: Any = {**_STYLE, "svg.hashsalt": clean(salt)}
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
        canvas.savefig(
            written,
            format="svg",
            metadata={"Date": None, "Creator": None, "Format": None, "Type": None},
        )
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
    """What a page takes: without prolog, metadata, comments and style sheets, in the page's colours and font."""
    for pattern, kept in _REWRITTEN:
        svg = pattern.sub(kept, svg)
    svg = re.sub(r"#00000\d", lambda found: f"var(--{_PROPERTIES[found[0]]})", svg)
    return f'<svg viewBox="0 0 {_WIDTH} {height:g}" width="{_WIDTH}" height="{height:g}">{svg}'


_REWRITTEN = tuple(
    (re.compile(pattern, re.DOTALL), kept)
    for pattern, kept in (
        (
            r"\A.*?<svg[^>]*>|<!--.*?-->|<metadata>.*?</metadata>|<defs>\s*<style.*?</style>\s*</defs>",
            "",
        ),
        (r' id="[A-Za-z.]+\w*_\d+"| transform="rotate\(-?0 [^)]*\)"|font-family: [^;"]*; ', ""),
        (r'font: ([\d.]+)px [^;"]*', r"font-size: \1px"),
        (r"(\d\.\d\d)\d+(?=[^<>]*>)", r"\1"),
        (r"\s*\n\s*(?=<|\Z)", ""),
        (r"\s*\n\s*", " "),
        (r'<g><path d="[^"]*" style="fill: none"/></g>', ""),
    )
)
