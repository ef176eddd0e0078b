"""The difference of two readings against its standard error, whatever is known of them: items, intervals, or z alone.

Each function gives the difference on the probe's scale (on log: of the logarithms), new less old. Plain numpy.
"""

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from sway_gate.stats import (
    SCORE_SCALE,
    Z_975,
    Scale,
    is_share,
    normal_from_log_sf,
    student_to_normal,
    transform,
)

Interval = tuple[float, float]

_MANY = 1000  # items that changed, from where the binomial is normal


class Difference(NamedTuple):
    """`value` and its standard error `se` on the scale; `sigmas`: the normal quantile with the tail that `value` has
    where nothing changed, of the sign of `value`."""

    value: float
    se: float
    sigmas: float


def paired(old: ArrayLike, new: ArrayLike, scale: Scale, resolution: float) -> Difference:
    """Of two means over the same n ≥ 2 items (both of shape [n]): which items were chosen cancels out.

    Student's t with n - 1 degrees of freedom on the differences of the items, each on the scale; so on log the value
    is the mean log ratio of an item, which one large item does not decide. Their spread is never taken below
    `resolution` (in the units of the items; on log, of their mean): what a probe cannot tell from nothing is no change.
    Items that are all 0 or 1 are a share: McNemar's test of the items that changed (binomial, mid-p; Fagerland et al.
    2013).
    """
    x, y = (np.asarray(items, dtype=np.float64).ravel() for items in (old, new))
    if x.size != y.size or x.size < 2:
        raise ValueError(f"items come in pairs, 2 or more, not {x.size} and {y.size}")
    least = float(min(x.mean(), y.mean()))
    floor = resolution / max(resolution, least) if scale == "log" else resolution
    changes = transform(y, scale, resolution) - transform(x, scale, resolution)
    value, se = float(changes.mean()), max(float(changes.std(ddof=1)), floor) / math.sqrt(x.size)
    if scale == "identity" and is_share(x) and is_share(y):
        return Difference(value, se, _mcnemar(int((y > x).sum()), int((y < x).sum())))
    return Difference(value, se, student_to_normal(value / se, x.size - 1))


def of_intervals(
    old: float, new: float, old_95: Interval, new_95: Interval, resolution: float
) -> Difference:
    """Of two values with their 95 % intervals, all on the scale, taken as independent.

    The limits of a difference from those of its parts (Newcombe 1998; Zou & Donner 2008):
    new - old ∓ √((new - its limit)² + (old - its other limit)²). The standard error is what the arm that reaches
    toward 0 makes it, over 1.96: it keeps skewed intervals skewed, and the wide ones of few items wide.
    Over the same items it is larger than it need be, where good items of the one are good in the other.
    """
    value = new - old
    arm_down = math.hypot(new - new_95[0], old_95[1] - old)
    arm_up = math.hypot(new_95[1] - new, old - old_95[0])
    se = max((arm_down if value > 0 else arm_up) / Z_975, resolution)
    return Difference(value, se, value / se)


def of_z(old: float, new: float, old_nulls: int, new_nulls: int) -> Difference:
    """Of two z's, where nothing is known of items: each has a variance of 1 by what a z is, and one against n nulls
    of z² / 2(n - 1) more, as their spread is estimated (delta method)."""
    se = math.hypot(z_error(old, old_nulls), z_error(new, new_nulls))
    return Difference(new - old, se, (new - old) / se)


def z_error(z: float, nulls: int) -> float:
    """Standard error of a z against so many null adapters; 0 of them for a distance to a margin."""
    return math.sqrt(1.0 + (z * z / (2 * (nulls - 1)) if nulls > 1 else 0.0))


def score_error(z: float, nulls: int) -> float:
    """Standard error of the score 1 - exp(-z / 3.274) by the delta method; 0 where z ≤ 0 scores nothing."""
    return math.exp(-z / SCORE_SCALE) / SCORE_SCALE * z_error(z, nulls) if z > 0 else 0.0


def on_scale(
    value: float, interval: Interval, scale: Scale, resolution: float
) -> tuple[float, Interval]:
    """A value and its interval on the scale."""
    low, middle, high = transform([interval[0], value, interval[1]], scale, resolution).tolist()
    return middle, (low, high)


def _mcnemar(rises: int, falls: int) -> float:
    """The normal quantile of the mid-p tail of so many rises among the items that changed, at even odds."""
    n, more = rises + falls, max(rises, falls)
    if n > _MANY or rises == falls:
        return (rises - falls) / math.sqrt(max(n, 1))
    # As integers: n may be large.
    twice = 2 * sum(math.comb(n, k) for k in range(more, n + 1)) - math.comb(n, more)
    z = normal_from_log_sf(math.log(twice) - (n + 1) * math.log(2.0))
    return z if rises > falls else -z
