"""Differences of two measurements with their standard errors, from items, intervals or z-scores.

Each function returns new minus old on the probe's scale; on the log scale this is the difference
of the logarithms.
"""

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from sway_gate.stats import (
    Z_975,
    Scale,
    is_binary,
    normal_from_log_sf,
    student_to_normal,
    transform,
)

Interval = tuple[float, float]

_MANY = 1000  # changed items, above which the normal approximation of the binomial is used


class Difference(NamedTuple):
    """A difference `value` and its standard error `se`, both on the probe's scale.

    `sigmas` is the normal quantile with the tail probability of `value` under no change, with the
    sign of `value`.
    """

    value: float
    se: float
    sigmas: float


def paired(old: ArrayLike, new: ArrayLike, scale: Scale, resolution: float) -> Difference:
    """Difference of two means over the same n ≥ 2 items (both of shape [n]).

    Pairing removes the variability between items. Student's t with n - 1 degrees of freedom on the
    differences of the transformed items; on the log scale the value is the mean log ratio of the
    items, so that one large item does not dominate. `resolution` bounds the standard deviation of
    the differences from below (in the units of the items; on log, relative to their mean): changes
    that a probe cannot resolve do not count. For items that are all 0 or 1 on the identity scale,
    `sigmas` is McNemar's test of the changed items (binomial, mid-p; Fagerland et al. 2013).
    Raises ValueError if the items are not pairs.
    """
    x, y = (np.asarray(items, dtype=np.float64).ravel() for items in (old, new))
    if x.size != y.size or x.size < 2:
        raise ValueError(f"a paired test needs at least 2 pairs, got {x.size} and {y.size} items")
    smaller = float(min(x.mean(), y.mean()))
    floor = resolution / max(resolution, smaller) if scale == "log" else resolution
    changes = transform(y, scale, resolution) - transform(x, scale, resolution)
    value, se = float(changes.mean()), max(float(changes.std(ddof=1)), floor) / math.sqrt(x.size)
    if scale == "identity" and is_binary(x) and is_binary(y):
        return Difference(value, se, _mcnemar(int((y > x).sum()), int((y < x).sum())))
    return Difference(value, se, student_to_normal(value / se, x.size - 1))


def of_intervals(
    old: float, new: float, old_95: Interval, new_95: Interval, resolution: float
) -> Difference:
    """Difference of two independent values with 95% intervals, all on the probe's scale.

    The limits of the difference combine the limits of its parts (Newcombe 1998; Zou & Donner 2008):
    new - old ∓ √((new - its limit)² + (old - its opposite limit)²). The standard error is the arm
    that points towards 0, divided by 1.96. It therefore reflects the skewness of the intervals, and
    their width for few items. For results on the same items it is conservative if the items are
    positively correlated.
    """
    value = new - old
    arm_down = math.hypot(new - new_95[0], old_95[1] - old)
    arm_up = math.hypot(new_95[1] - new, old - old_95[0])
    se = max((arm_down if value > 0 else arm_up) / Z_975, resolution)
    return Difference(value, se, value / se)


def of_z(old: float, new: float, old_nulls: int, new_nulls: int) -> Difference:
    """Difference of two z-scores, for results without items and intervals.

    `old_nulls` and `new_nulls`: numbers of null adapters, as in `z_error`.
    """
    se = math.hypot(z_error(old, old_nulls), z_error(new, new_nulls))
    return Difference(new - old, se, (new - old) / se)


def z_error(z: float, nulls: int) -> float:
    """Standard error of a z-score against `nulls` null adapters; 0 for a distance to a margin.

    The variance is 1 by definition of z. Estimating the standard deviation of n nulls adds
    z² / 2(n - 1) (delta method).
    """
    return math.sqrt(1.0 + (z * z / (2 * (nulls - 1)) if nulls > 1 else 0.0))


def score_error(score: float, z: float, nulls: int) -> float:
    """Standard error of a score 1 - exp(-k z) by the delta method; 0 if z ≤ 0 (score 0).

    k, which depends on the limit of z, follows from the score: k = -ln(1 - score) / z.
    """
    if not (z > 0 and 0 < score < 1):
        return 0.0
    return (1 - score) * -math.log1p(-score) / z * z_error(z, nulls)


def on_scale(
    value: float, interval: Interval, scale: Scale, resolution: float
) -> tuple[float, Interval]:
    """Transform a value and its interval to the probe's scale."""
    low, middle, high = transform([interval[0], value, interval[1]], scale, resolution).tolist()
    return middle, (low, high)


def _mcnemar(rises: int, falls: int) -> float:
    """Normal quantile of the binomial mid-p tail of `rises` among the changed items."""
    n, more = rises + falls, max(rises, falls)
    if n > _MANY or rises == falls:
        return (rises - falls) / math.sqrt(max(n, 1))
    # Exact integers: the binomial coefficients exceed the range of floats.
    twice = 2 * sum(math.comb(n, k) for k in range(more, n + 1)) - math.comb(n, more)
    z = normal_from_log_sf(math.log(twice) - (n + 1) * math.log(2.0))
    return z if rises > falls else -z
