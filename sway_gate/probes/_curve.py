"""The shape of a response curve: does it rise smoothly, or with a step, a plateau or a fall?

Pure numpy. A curve is `x` [n], ascending from 0 and including the quarters up to 1, and `y` [n]
from 0, linear between its points. The measures have no units and do not depend on further points.
"""

from typing import NamedTuple

import numpy as np

from sway_gate.measurements import Floats

QUARTERS = (0.25, 0.5, 0.75, 1.0)
_WIDTH = 0.25  # of the window in which a step is measured
_REACHED = 0.9


class Shape(NamedTuple):
    """All zero, and no overshoot, for a curve that never leaves 0 up to λ = 1."""

    linearity: float
    largest_step: float
    largest_fall: float
    saturation: float
    overshoot: float | None
    """Value at the largest λ over the value at 1. None for a curve that ends at λ = 1."""


def shape(x: Floats, y: Floats) -> Shape:
    """The measures of a curve; both arguments [n]."""
    up_to_one = y[x <= 1.0]
    height, at_one = float(up_to_one.max()), float(up_to_one[-1])
    fall = float((np.maximum.accumulate(up_to_one) - up_to_one).max())
    return Shape(
        linearity=_r_squared(x, y),
        largest_step=_steepest(x, y) / (_WIDTH * height) if height > 0 else 0.0,
        largest_fall=fall / height if height > 0 else 0.0,
        saturation=_first_reaching(x, y, _REACHED * at_one),
        overshoot=float(y[-1]) / at_one if float(x[-1]) > 1.0 and at_one > 0 else None,
    )


def min_overshoot(last: float, limit: float) -> float:
    """Required overshoot: `limit` for a `last` λ ≥ 1.25. Before it a limit above 1 is
    proportionally lower."""
    return min(limit, 1 + (limit - 1) * (last - 1) / 0.25) if limit > 1 else limit


def _r_squared(x: Floats, y: Floats) -> float:
    """Squared Pearson correlation over 0 and the quarters: the best line's share of variance."""
    quarters = np.array([0.0, *QUARTERS])
    heights = np.interp(quarters, x, y)
    if np.ptp(heights) == 0:
        return 0.0
    return float(np.corrcoef(quarters, heights)[0, 1] ** 2)


def _steepest(x: Floats, y: Floats) -> float:
    """Largest rise within a window of λ up to 1.

    Between linear pieces the maximum is at a window that starts or ends at a point of the curve.
    """
    starts = np.clip(np.concatenate([x, x - _WIDTH]), 0.0, 1.0 - _WIDTH)
    return float((np.interp(starts + _WIDTH, x, y) - np.interp(starts, x, y)).max())


def _first_reaching(x: Floats, y: Floats, level: float) -> float:
    """The λ at which the curve first reaches `level`; 0 for a level of 0."""
    after = int(np.argmax(y >= level))
    if after == 0:
        return 0.0
    before = after - 1
    share = (level - y[before]) / (y[after] - y[before])
    return float(x[before] + share * (x[after] - x[before]))
