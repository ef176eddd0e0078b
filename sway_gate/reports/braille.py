"""Bars and curves as text, in block and braille characters or in ASCII."""

import math
from collections.abc import Iterator, Sequence
from itertools import pairwise

from sway_gate.text import is_number

EIGHTHS = " ▏▎▍▌▋▊▉█"
ROWS = 8
LABEL = 10  # width of a label of the vertical axis, in cells
# Bit of each dot of a braille cell, by [y][x] within the cell, y downward.
BRAILLE_BITS = ((0x01, 0x08), (0x02, 0x10), (0x04, 0x20), (0x40, 0x80))

Point = tuple[float, float]


def bar(value: float | None, cells: int, ascii: bool = False) -> str:
    """Draw `value` as a bar from 0 to 1, padded to `cells`; clip other values, None is empty."""
    share = 0.0 if value is None or math.isnan(value) else min(max(value, 0.0), 1.0)
    if ascii:
        return ("#" * round(share * cells)).ljust(cells, ".")
    full, eighth = divmod(round(share * cells * 8), 8)
    return ("█" * full + EIGHTHS[eighth].strip()).ljust(cells)


def curve_rows(
    lambdas: Sequence[float],
    curve: Sequence[float],
    columns: int,
    ascii: bool = False,
    limit: float | None = None,
    axis: str = "scale",
    rows: int = ROWS,
) -> list[tuple[str, str]]:
    """Plot `curve` over `lambdas`: (frame, curve) per row; empty for fewer than two points.

    `axis`: the name of the horizontal axis. `rows`: the height, without the axis.

    The scale contains 0 and `limit`, which is a dashed line: a negligible curve looks like one.
    """
    pairs = zip(lambdas, curve, strict=False)
    points = sorted((x, y) for x, y in pairs if is_number(x) and is_number(y))
    if len(points) < 2:
        return []
    heights = [y for _, y in points]
    low, high = min(0.0, *heights), max(*heights, limit or 0.0)
    high = high if high > low else low + 1.0
    left, right = points[0][0], points[-1][0]
    if not (0 < right - left < math.inf and high - low < math.inf):
        return []
    grid = _ascii_grid if ascii else _braille_grid
    drawn = grid([_unit(point, left, right, low, high) for point in points], columns, rows)
    wall, floor = ("|", "+" + "-" * columns) if ascii else ("│", "└" + "─" * columns)
    labels = [f"{high:.3g}", *[""] * (rows - 2), f"{low:.3g}"]
    if limit is not None:
        row = round((1 - (limit - low) / (high - low)) * (rows - 1))
        labels[row], drawn[row] = f"{limit:.3g}", drawn[row].replace(" ", "-" if ascii else "┄")
    lines = [(f"{label:>{LABEL}} {wall}", row) for label, row in zip(labels, drawn, strict=True)]
    ticks = _ticks([x for x, _ in points], columns)
    return [*lines, (" " * LABEL + f" {floor}", ""), (f"{axis:>{LABEL}}  {ticks}", "")]


def _unit(point: Point, left: float, right: float, low: float, high: float) -> Point:
    return (point[0] - left) / (right - left), (point[1] - low) / (high - low)


def _line(points: Sequence[Point], columns: int, rows: int) -> Iterator[tuple[int, int]]:
    """Dots (column, row from the top) of the polyline through `points` of the unit square."""
    for (x0, y0), (x1, y1) in pairwise(points):
        steps = 1 + 2 * math.ceil(max(abs(x1 - x0) * columns, abs(y1 - y0) * rows))
        for step in range(steps + 1):
            share = step / steps
            x, y = x0 + share * (x1 - x0), y0 + share * (y1 - y0)
            yield round(x * (columns - 1)), round((1 - y) * (rows - 1))


def _braille_grid(points: Sequence[Point], columns: int, rows: int) -> list[str]:
    grid = [[0] * columns for _ in range(rows)]
    for x, y in _line(points, columns * 2, rows * 4):
        grid[y // 4][x // 2] |= BRAILLE_BITS[y % 4][x % 2]
    return ["".join(chr(0x2800 + bits) if bits else " " for bits in row) for row in grid]


def _ascii_grid(points: Sequence[Point], columns: int, rows: int) -> list[str]:
    grid = [[" "] * columns for _ in range(rows)]
    for x, y in _line(points, columns, rows):
        grid[y][x] = "."
    for x_unit, y_unit in points:
        grid[round((1 - y_unit) * (rows - 1))][round(x_unit * (columns - 1))] = "*"
    return ["".join(row) for row in grid]


def _ticks(lambdas: Sequence[float], columns: int) -> str:
    """Each value of the axis below its position, unless it would touch the previous label."""
    line = ""
    for x in lambdas:
        label = f"{x:g}"
        start = round((x - lambdas[0]) / (lambdas[-1] - lambdas[0]) * (columns - 1))
        start = min(start, columns - len(label))
        if not line or start > len(line):
            line = line.ljust(start) + label
    return line
