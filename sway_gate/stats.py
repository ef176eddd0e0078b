"""Statistics of the verdicts: z against nulls, Monte-Carlo p, intervals, margins, divergences.

Uses only numpy and the standard library, so that the gate starts without scipy.
Invalid arguments raise `ValueError`.
"""

import math
from collections.abc import Sequence
from itertools import permutations
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

Floats = NDArray[np.float64]
Scale = Literal["log", "logit", "identity"]

Z_95 = 1.6448536269514722
"""Normal quantile of a one-sided 95% bound: 5% of the distribution is above it."""

Z_975 = 1.959963984540054
"""Normal quantile of a two-sided 95% interval."""

_ERROR = 0.05
"""The error of a one-sided bound."""

CERTAIN = 3.0
"""The default limit of a z-score: one in 740 null adapters exceeds it."""

SCORE_AT_LIMIT = 0.6
"""Score of a z that equals its limit."""

_LOG_2 = math.log(2.0)

# Keeps z finite at margins 0 and 1: the variance under the null hypothesis is 0 there.
_NO_VARIANCE = 1e-12
_SIDE = 1e-6  # the smallest distance to a margin


def root_mean_square(parts: Sequence[Floats]) -> float:
    """The root mean square of all finite values; 0 if there is none."""
    flat = np.concatenate([part.ravel() for part in parts]) if parts else np.zeros(0)
    flat = flat[np.isfinite(flat)]
    return float(np.sqrt(np.mean(flat**2))) if flat.size else 0.0


# Student's t and the normal distribution, from log tails


def student_log_sf(t: float, df: int) -> float:
    """Log of the upper tail P(T ≥ t) of Student's t with `df` ≥ 1 degrees of freedom.

    For t ≥ 0 the tail is I_x(df/2, 1/2) / 2 with x = df / (df + t²) (Abramowitz & Stegun 26.5.27
    and 26.7.1). The computation is in logarithms: it gives about 12 digits even if the tail itself
    underflows. Infinite t gives -inf or 0.
    """
    if df < 1:
        raise ValueError(f"degrees of freedom must be at least 1, got {df}")
    if t < 0:
        return math.log1p(-math.exp(student_log_sf(-t, df)))
    ratio = t / math.sqrt(df)
    if ratio == 0:
        return -_LOG_2
    log_x, log_y = -_log_1_plus_square(ratio), -_log_1_plus_square(1 / ratio)  # x + y = 1
    # The continued fraction converges fast for x < (a + 1) / (a + b + 2).
    if math.exp(log_x) < (df + 2) / (df + 5):
        return _log_beta_inc(df / 2, 0.5, log_x, log_y) - _LOG_2
    return math.log1p(-math.exp(_log_beta_inc(0.5, df / 2, log_y, log_x))) - _LOG_2


def _log_1_plus_square(r: float) -> float:
    return math.log1p(r * r) if r < 1e8 else 2 * math.log(r)


def _log_beta_inc(a: float, b: float, log_x: float, log_y: float) -> float:
    """Log of the regularised incomplete beta function I_x(a, b) for x < (a + 1) / (a + b + 2).

    y is 1 - x.
    """
    log_beta = math.lgamma(a) + math.lgamma(b) - math.lgamma(a + b)
    log_fraction = math.log(_beta_fraction(a, b, math.exp(log_x)))
    return a * log_x + b * log_y - math.log(a) - log_beta - log_fraction


def _beta_fraction(a: float, b: float, x: float) -> float:
    """Continued fraction 1 + d₁/(1 + d₂/(1 + …)) of DLMF 8.17.22, evaluated from the last term.

    For the arguments that `student_log_sf` passes, at most 45 steps give 16 digits at any degrees
    of freedom.
    """
    value = 1.0
    for m in range(60, 0, -1):
        odd = -(a + m) * (a + b + m) * x / ((a + 2 * m) * (a + 2 * m + 1))
        even = m * (b - m) * x / ((a + 2 * m - 1) * (a + 2 * m))
        value = 1 + even / (1 + odd / value)
    return 1 - (a + b) * x / (a + 1) / value


def normal_from_log_sf(log_sf: float) -> float:
    """Normal quantile z whose upper tail is exp(`log_sf`).

    Finite for every log tail below 0, -inf at 0. Newton's method on the log tail: it is concave,
    and the start, from P(Z ≥ z) ≤ exp(-z²/2)/2, is never too small. So the steps decrease to the
    root and never pass it.
    """
    if not log_sf <= 0:
        raise ValueError(f"a log probability must be at most 0, got {log_sf}")
    if log_sf == 0:
        return -math.inf
    if log_sf > -_LOG_2:
        return -normal_from_log_sf(math.log(-math.expm1(log_sf)))
    z = math.sqrt(2 * max(0.0, -log_sf - _LOG_2))
    for _ in range(50):
        log_tail, hazard = _normal_tail(z)
        step = (log_tail - log_sf) / hazard
        z += step
        if abs(step) <= 1e-15 * max(z, 1.0):
            break
    return z


def _normal_tail(z: float) -> tuple[float, float]:
    """Log tail and hazard (density over tail) of the standard normal at z ≥ 0."""
    log_density = -z * z / 2 - math.log(2 * math.pi) / 2
    if z < 35:  # erfc loses digits to underflow above
        tail = math.erfc(z / math.sqrt(2)) / 2
        return math.log(tail), math.exp(log_density) / tail
    w = 1 / (z * z)
    mills = (1 - w * (1 - 3 * w * (1 - 5 * w * (1 - 7 * w)))) / z  # Abramowitz & Stegun 26.2.12
    return log_density + math.log(mills), 1 / mills


def student_to_normal(t: float, df: int) -> float:
    """Normal quantile with the upper tail of `t` under Student's t.

    An odd function of t, finite even for infinite t.
    """
    if math.isnan(t):
        raise ValueError("t is NaN")
    size = min(abs(t), 1e300)
    return math.copysign(normal_from_log_sf(student_log_sf(size, df)), t)


def _student_quantile(log_sf: float, df: int) -> float:
    """Quantile t of Student's t whose upper tail is exp(`log_sf`), for tails below one half.

    Newton's method on the log tail as a function of log t.
    """
    t = normal_from_log_sf(log_sf)
    log_scale = math.lgamma((df + 1) / 2) - math.lgamma(df / 2) - math.log(df * math.pi) / 2
    for _ in range(50):
        log_tail = student_log_sf(t, df)
        log_density = log_scale - (df + 1) / 2 * math.log1p(t * t / df)
        step = (log_tail - log_sf) / (t * math.exp(log_density - log_tail))
        t *= math.exp(step)
        if abs(step) <= 1e-15:
            break
    return t


# Comparison with the nulls


def transform(values: ArrayLike, scale: Scale, resolution: float) -> Floats:
    """Transform `values` to the scale on which null values are nearly normal; same shape.

    - log: ln max(v, resolution), for positive quantities with multiplicative noise (divergences);
    - logit: ln(v / (1 - v)) with v clipped to [resolution, 1 - resolution], for rates;
    - identity: unchanged.

    `resolution` (> 0, below ½ for logit) is the smallest change of v that the probe can detect, in
    the units of v.
    """
    v = np.asarray(values, dtype=np.float64)
    if scale == "identity":
        return v
    if not 0 < resolution < (0.5 if scale == "logit" else math.inf):
        raise ValueError(f"resolution {resolution} is out of range for the {scale} scale")
    if scale == "log":
        return np.log(np.maximum(v, resolution))
    rate = np.clip(v, resolution, 1 - resolution)
    return np.log(rate) - np.log1p(-rate)


class ZScore(NamedTuple):
    """Position of a value among `n` null values.

    `mean` and `sd` are on the transformed scale; `is_min_sd`: whether `sd` was raised to its
    minimum.
    """

    z: float
    n: int
    mean: float
    sd: float
    is_min_sd: bool


class Prior(NamedTuple):
    """Prior estimate of the nulls' standard deviation, weighted like `df` degrees of freedom."""

    sd: float
    df: int


def z_score(
    value: float,
    nulls: Sequence[float] | Floats,
    min_sd: float,
    prior: Prior | None = None,
    share: float = 1.0,
) -> ZScore:
    """Return the z-score of `value` against at least 3 `nulls`, all on the transformed scale.

    t = (value - mean) / (s √(1 + 1/n)), with s over n - 1, has Student's t distribution with n - 1
    degrees of freedom if value and nulls are independent and identically normal (the prediction
    interval of a new observation). z is the normal quantile with the same tail, so that
    P(z ≥ 3) = 0.135% at every n. `min_sd` (> 0, same units) bounds s from below; this can only
    move z towards 0. With a `prior`, s² is moderated, (df₀ sd₀² + (n - 1) s²) / (df₀ + n - 1), and
    t has df₀ + n - 1 degrees of freedom (Smyth 2004). `share`: see `of_look`.
    """
    x = np.asarray(nulls, dtype=np.float64)
    if x.size < 3:
        raise ValueError(f"calibration needs at least 3 null values, got {x.size}")
    if not min_sd > 0:
        raise ValueError(f"the minimum null standard deviation must be above 0, got {min_sd}")
    _check_finite(x)
    mean, s, df = float(x.mean()), float(x.std(ddof=1)), x.size - 1
    if prior:
        s = math.sqrt((prior.df * prior.sd**2 + df * s**2) / (prior.df + df))
        df += prior.df
    sd = max(s, min_sd)
    t = (value - mean) / (sd * math.sqrt(1 + 1 / x.size))
    return ZScore(of_look(student_to_normal(t, df), share), x.size, mean, sd, s < min_sd)


def of_look(z: float, share: float) -> float:
    """Return z of one of several looks at growing data, with the tail p / `share`.

    If the shares of all looks are at most 1 together, P(z ≥ c at any look) is at most the normal
    tail of c, for each c > 0 and any rule of when to stop (Bonferroni). A z that this would move
    below 0 becomes 0, and a negative z is unchanged.
    """
    if share == 1 or z <= 0:
        return z
    log_sf = _normal_tail(z)[0] - math.log(share)
    return normal_from_log_sf(log_sf) if log_sf < -_LOG_2 else 0.0


def monte_carlo_p(value: float, nulls: Sequence[float] | Floats) -> float:
    """Exact Monte-Carlo p-value (1 + #{null ≥ value}) / (n + 1).

    Source: Davison & Hinkley 1997, eq. 4.11.
    """
    x = np.asarray(nulls, dtype=np.float64)
    return float((1 + np.count_nonzero(x >= value)) / (x.size + 1))


def normal_sf(z: float) -> float:
    """Upper tail probability of the standard normal distribution."""
    return math.erfc(z / math.sqrt(2.0)) / 2


def holm(p: Sequence[float]) -> list[float]:
    """Holm-adjusted p-values; they control the family-wise error rate under any dependence.

    Source: Holm 1979.
    """
    order = np.argsort(p, kind="stable")
    steps = np.minimum((len(p) - np.arange(len(p))) * np.asarray(p, dtype=np.float64)[order], 1.0)
    adjusted = np.empty(len(p))
    adjusted[order] = np.maximum.accumulate(steps)
    return [float(x) for x in adjusted]


def score_from_z(z: float, limit: float = CERTAIN) -> float:
    """Return the score 1 - exp(-ln(2.5) max(z / limit, 0)): 0 for z ≤ 0, .6 at z = `limit`.

    Always below 1. A limit of 0 or less has no scale: there each 3 above it count like a limit.
    """
    if math.isnan(z):
        raise ValueError("z is NaN")
    reach = z / limit if limit > 0 else 1 + (z - limit) / CERTAIN
    score = -math.expm1(math.log1p(-SCORE_AT_LIMIT) * max(reach, 0.0))
    return min(score, math.nextafter(1.0, 0.0))


_MOST_ITEMS = 100
"""Factor on the number of items from which on more items are not a reasonable advice."""


def items_to_decide(z: float, n: int, limit: float = Z_95) -> int | None:
    """Number of items at which the distance `z` of `n` items reaches `limit`, on either side.

    The estimate and the standard deviation of the items stay the same, so z grows with √n:
    n (limit / z)². Rounded up to two digits. None if this is more than 100 n, so that the estimate
    is practically at the limit.
    """
    if abs(z) * math.sqrt(_MOST_ITEMS) < limit:
        return None
    needed = math.ceil(n * max(limit / abs(z), 1.0) ** 2)
    step = int(10 ** max(0, len(str(needed)) - 2))
    return -(-needed // step) * step


# Means and fractions of items


def bootstrap_ci(
    items: ArrayLike, seed: int, level: float = 0.95, draws: int = 2000
) -> tuple[float, float] | None:
    """Two-sided confidence interval of the mean of `items` (shape [n], any unit); None for n < 2.

    Deterministic for a given seed. Studentised bootstrap (Davison & Hinkley 1997, section 5.2.1).
    Measured coverage of the 95% interval at n = 4, 8, 16, 32 is 96, 95, 95, 95% for normal and
    90, 91, 92, 93% for log-normal items; BCa has 80, 88, 92, 94% and 69, 80, 87, 90%. If the
    limits come from resamples with zero variance (n < 4, or most items tied), the result is
    Student's t interval. Equal items give an interval of zero width at every n: for fractions use
    `share_interval` or `fraction_below`.
    """
    x = np.asarray(items, dtype=np.float64).ravel()
    _check_finite(x)
    if x.size < 2:
        return None
    tail = (1 - level) / 2
    mean, se = float(x.mean()), float(x.std(ddof=1)) / math.sqrt(x.size)
    t = _bootstrap_t(x, np.random.default_rng(seed), draws)
    low = float(np.quantile(t, tail, method="lower"))
    high = float(np.quantile(t, 1 - tail, method="higher"))
    if not math.isfinite(high - low):
        high = _student_quantile(math.log(tail), x.size - 1)
        low = -high
    return mean - high * se, mean - low * se


def positive_mean_ci(items: ArrayLike, level: float = 0.95) -> tuple[float, float] | None:
    """Two-sided confidence interval of the mean of non-negative items (shape [n], any unit).

    None for n < 3 or mean 0. Student's t interval of ln mean, whose standard error is SE / mean by
    the delta method, transformed back: it is always above 0, and wide upwards for few skewed items.
    """
    x = np.asarray(items, dtype=np.float64).ravel()
    _check_finite(x)
    if x.size < 3 or not x.mean() > 0:
        return None
    mean = float(x.mean())
    relative_se = float(x.std(ddof=1) / x.mean()) / math.sqrt(x.size)
    factor = math.exp(_student_quantile(math.log((1 - level) / 2), x.size - 1) * relative_se)
    return mean / factor, mean * factor


def share_interval(share: float, n: float) -> tuple[float, float]:
    """Wilson's 95% interval of a share of n ≥ 1 items, possibly an effective number (Wilson 1927).

    Unlike the interval of a mean, it has a width even if all items are 0 or all are 1.
    """
    w = Z_975**2 / n
    middle = (share + w / 2) / (1 + w)
    arm = math.sqrt(w * (share * (1 - share) + w / 4)) / (1 + w)
    return middle - arm, middle + arm


def is_binary(items: ArrayLike) -> bool:
    """Whether `items` is not empty and contains only 0 and 1."""
    x = np.asarray(items, dtype=np.float64)
    return x.size > 0 and bool(np.isin(x, (0.0, 1.0)).all())


def _bootstrap_t(x: Floats, rng: np.random.Generator, draws: int) -> Floats:
    """Bootstrap statistics (mean* - mean) / se* of resamples of `x`; shape [draws].

    Infinite for a resample with zero variance.
    """
    rows = max(1, 2**20 // x.size)  # resamples per block, to limit memory to some tens of MB
    means, sds = np.empty(draws), np.empty(draws)
    for start in range(0, draws, rows):
        block = slice(start, min(start + rows, draws))
        resamples = x[rng.integers(0, x.size, (block.stop - start, x.size))]
        means[block], sds[block] = resamples.mean(axis=1), resamples.std(axis=1, ddof=1)
    sds[sds < 1e-9 * x.std()] = 0.0  # equal items, up to rounding
    with np.errstate(divide="ignore", invalid="ignore"):
        t = (means - x.mean()) / (sds / math.sqrt(x.size))
    return np.where(np.isnan(t), 0.0, t)


class Margin(NamedTuple):
    """Result of a one-sided test against a margin.

    `z` is the distance to the margin as a normal quantile, positive inside the margin. `bound` is
    the one-sided 95% bound of the quantity, and `estimate` the quantity, both in its units.
    `bound` is inside the margin if and only if z > `Z_95`.
    """

    z: float
    bound: float
    estimate: float


def mean_above(
    items: ArrayLike,
    margin: float,
    resolution: float,
    prior: Prior | None = None,
    error_share: float = 1.0,
) -> Margin:
    """Test for non-inferiority: is the mean of `items` (shape [n], n ≥ 1) above `margin`?

    One-sided one-sample t test: t = (mean - margin) / SE with SE = max(s, `resolution`) / √n,
    `resolution` > 0 in the units of the items. z has the tail of t under Student's t with n - 1
    degrees of freedom; bound = mean - t₀.₉₅ SE. One item is inconclusive: z = 0, bound = -inf.
    A `prior` moderates s as in `z_score`, so that one item decides too. `error_share`: see
    `_distance_of_look`.
    """
    x = np.asarray(items, dtype=np.float64).ravel()
    _check_finite(x)
    if x.size < 1 or not resolution > 0:
        raise ValueError(
            f"a mean needs at least 1 item and a resolution above 0, got {x.size} and {resolution}"
        )
    mean, df = float(x.mean()), x.size - 1
    squares = float(np.square(x - mean).sum())
    if prior:
        df, squares = df + prior.df, squares + prior.df * prior.sd**2
    if df == 0:
        return Margin(0.0, -math.inf, mean)
    se = max(math.sqrt(squares / df), resolution) / math.sqrt(x.size)
    return mean_above_from(mean, se, df, margin, error_share)


def mean_above_from(
    mean: float, se: float, df: int, margin: float, error_share: float = 1.0
) -> Margin:
    """The test of `mean_above` for a mean with standard error `se` > 0.

    The standard error has `df` ≥ 1 degrees of freedom.
    """
    z = student_to_normal((mean - margin) / se, df)
    t = _student_quantile(math.log(_ERROR * error_share), df)
    return Margin(_distance_of_look(z, error_share), mean - t * se, mean)


def _distance_of_look(z: float, share: float) -> float:
    """Distance to a margin at one of several looks at growing data, with the tail p / `share`.

    Like `of_look`, but on both sides, because both a pass and a failure end the looks: if the
    shares of all looks are at most 1 together, each has an error of at most 5%. It is never 0
    unless `z` is: its sign states on which side of the margin the estimate is.
    """
    return math.copysign(max(of_look(abs(z), share), min(abs(z), _SIDE)), z)


def _quantile_of_look(share: float) -> float:
    """The normal quantile of the one-sided 95% bound at a look with this share of the error."""
    return Z_95 if share == 1 else normal_from_log_sf(math.log(_ERROR * share))


def ratio_above(x: ArrayLike, y: ArrayLike, margin: float, prior: Prior) -> Margin:
    """Is the ratio R of the means of `x` and `y` (shape [n], n ≥ 1, the same items) above `margin`?

    The mean of y must be above 0, and certainly so for the test to be valid. Standard error of the
    ratio estimator, s / √n, with s of (x - R y) / mean y over n - 1 (Cochran 1977, section 6.4).
    The `prior`, in units of R, moderates s as in `z_score`, so that one item decides too.
    """
    a, b = np.asarray(x, dtype=np.float64).ravel(), np.asarray(y, dtype=np.float64).ravel()
    _check_finite(np.concatenate([a, b]))
    if a.size != b.size or not a.size or not b.mean() > 0:
        raise ValueError("a ratio needs pairs of items, and a denominator with a mean above 0")
    ratio, df = float(a.mean() / b.mean()), prior.df + a.size - 1
    squares = float(np.square((a - ratio * b) / b.mean()).sum())
    sd = math.sqrt((prior.df * prior.sd**2 + squares) / df)
    return mean_above_from(ratio, sd / math.sqrt(a.size), df, margin)


def positive_mean_above(items: ArrayLike, margin: float, resolution: float, prior: Prior) -> Margin:
    """Is the mean of non-negative `items` (shape [n], n ≥ 1) above `margin` > 0?

    The test of `mean_above` on the scale of the logarithm, with the standard error SE / mean by the
    delta method. The relative standard deviation s is moderated by the `prior` as in `z_score`, so
    that one item decides too. The test counts means and margins below `resolution` as
    `resolution`; the estimate is the mean itself.
    """
    x = np.asarray(items, dtype=np.float64).ravel()
    _check_finite(x)
    mean, least = max(float(x.mean()), resolution), max(margin, resolution)
    df = prior.df + x.size - 1
    spread = float(np.square(x / mean - x.mean() / mean).sum())
    sd = math.sqrt((prior.df * prior.sd**2 + spread) / df)
    found = mean_above_from(math.log(mean), sd / math.sqrt(x.size), df, math.log(least))
    return Margin(found.z, math.exp(found.bound), float(x.mean()))


def fraction_below(k: int, n: int, margin: float, error_share: float = 1.0) -> Margin:
    """Test for non-inferiority: is the fraction estimated by `k` of `n` ≥ 1 items below `margin`?

    One-sided score test: z = (margin - k/n) / √(margin (1 - margin) / n). `bound` is Wilson's upper
    limit (Wilson 1927), the largest fraction that this test does not reject. No k meets margin 0;
    every k < n meets margin 1, and every k a larger one. `error_share`: see `_distance_of_look`.
    Raises ValueError if k, n or the margin is impossible.
    """
    if not (0 <= k <= n and n >= 1 and 0 <= margin < math.inf):
        raise ValueError(f"invalid fraction or margin: {k} of {n}, margin {margin}")
    p, w = k / n, _quantile_of_look(error_share) ** 2 / n
    z = (margin - p) / math.sqrt(max(margin * (1 - margin), _NO_VARIANCE) / n)
    upper = (p + w / 2 + math.sqrt(w * (p * (1 - p) + w / 4))) / (1 + w)
    z = _outside_if_equal(_distance_of_look(z, error_share), p, margin)
    return Margin(z, 1.0 if k == n else upper, p)


def _outside_if_equal(z: float, estimate: float, margin: float) -> float:
    """z of an estimate that must be below the margin: an estimate at the margin is outside."""
    return -_SIDE if z == 0 and estimate == margin else z


def share_above(share: float, n: float, margin: float, error_share: float = 1.0) -> Margin:
    """Test whether a share of `n` > 0 items, possibly an effective number, is above `margin`.

    The score test of `fraction_below` with the sides exchanged; `bound` is Wilson's lower limit.
    No share meets a margin above 1. `error_share`: see `_distance_of_look`. Raises ValueError if
    the share is outside 0 to 1, or the margin negative or infinite.
    """
    if not (0 <= share <= 1 and n > 0 and 0 <= margin < math.inf):
        raise ValueError(f"invalid share or margin: {share} of {n}, margin {margin}")
    w = _quantile_of_look(error_share) ** 2 / n
    z = (share - margin) / math.sqrt(max(margin * (1 - margin), _NO_VARIANCE) / n)
    lower = (share + w / 2 - math.sqrt(w * (share * (1 - share) + w / 4))) / (1 + w)
    return Margin(_distance_of_look(z, error_share), max(lower, 0.0), share)


class PooledShare(NamedTuple):
    """A share pooled over clusters of items, such as the tokens of rows.

    `effective_n`: the number of independent items with the same standard error.
    """

    share: float
    effective_n: float
    se: float


def pooled_share(hits: ArrayLike, sizes: ArrayLike) -> PooledShare:
    """Sum of `hits` over sum of `sizes`, both of shape [clusters], with sizes ≥ 0 and a sum > 0.

    The standard error is the ratio estimator's over clusters (Cochran 1977, section 6.4). The
    effective number is p (1 - p) / se² (Korn & Graubard 1998), at least 1 and at most the number
    of items. Without a hit, the standard error is 0 and the effective number is the number of
    items, as it nearly is with a single hit. If the clusters do not differ otherwise, it is the
    number of clusters: a cluster may be right as a whole.
    """
    k, m = np.asarray(hits, dtype=np.float64), np.asarray(sizes, dtype=np.float64)
    k, m = k[m > 0], m[m > 0]
    if not m.size or (k > m).any() or (k < 0).any():
        raise ValueError("a share needs items, and at most as many hits as items")
    total, n = float(m.sum()), m.size
    p = float(k.sum()) / total
    residuals = k - p * m
    se = math.sqrt(n / (n - 1) * float((residuals**2).sum())) / total if n > 1 else 0.0
    without_spread = total if p == 0 else float(n)
    effective = p * (1 - p) / se**2 if se > 0 else without_spread
    return PooledShare(p, min(max(effective, 1.0), total), se)


def share_difference(one: PooledShare, other: PooledShare) -> tuple[float, float]:
    """95% interval of the difference of two independent shares, `one` minus `other`.

    From Wilson's intervals of both, with their effective numbers (Newcombe 1998, method 10).
    """
    low, high = share_interval(one.share, one.effective_n)
    other_low, other_high = share_interval(other.share, other.effective_n)
    gap = one.share - other.share
    return (
        gap - math.hypot(one.share - low, other_high - other.share),
        gap + math.hypot(high - one.share, other.share - other_low),
    )


# Permutation of a pairing


_GRID = 2**13
_MAX_BLOCK = 8


class Pairing(NamedTuple):
    """Test that pairs belong together: normal-equivalent z, upper tail p, and the largest z that
    these numbers of rows and ties allow."""

    z: float
    p: float
    reachable: float


def pairing_test(blocks: Sequence[Floats]) -> Pairing:
    """Test whether the diagonals of square matrices exceed what other pairings give.

    `blocks`: matrices [n, n] with n ≤ 8, in any unit. Statistic: the sum of the diagonals. Null
    distribution: all permutations of the columns within each block, equally likely, so constants
    of a row or a column cancel. p is the share of permutations that reach the statistic, the
    identity and ties included; it is at least 1 / ∏ n!. The sums of the blocks are added on a grid
    of 8,192 steps, rounded so that p is never too small. z is the normal quantile of the tail on
    its side, and 0 if both tails exceed one half. So P(z ≥ 3) ≤ 0.135% under the null hypothesis.
    Source: Good 2005, Permutation, Parametric and Bootstrap Tests of Hypotheses, chapter 3.
    """
    deviations = [_deviations(np.asarray(block, dtype=np.float64)) for block in blocks]
    upper, lower = _tail(deviations), _tail([-d for d in deviations])
    reachable = normal_from_log_sf(sum(map(_log_share_at_maximum, deviations)))
    if upper <= 0.5:
        return Pairing(normal_from_log_sf(math.log(upper)), upper, reachable)
    z = -normal_from_log_sf(math.log(lower)) if lower <= 0.5 else 0.0
    return Pairing(z, upper, reachable)


def _deviations(block: Floats) -> Floats:
    """The sum of each permutation minus the diagonal's [n!]."""
    n = len(block)
    if block.shape != (n, n) or not 1 <= n <= _MAX_BLOCK:
        raise ValueError(f"a block must be square with at most {_MAX_BLOCK} rows: {block.shape}")
    _check_finite(block)
    orders = np.array(list(permutations(range(n))))
    return np.asarray(block[np.arange(n), orders].sum(axis=1) - np.trace(block))


def _log_share_at_maximum(deviations: Floats) -> float:
    """Log of the share of permutations that give the largest sum, up to rounding."""
    tolerance = 1e-9 * float(np.abs(deviations).max())
    return math.log(float(np.mean(deviations >= deviations.max() - tolerance)))


def _tail(deviations: Sequence[Floats]) -> float:
    """P(the sum of one deviation from each block is at least 0), never too small."""
    width = sum(float(np.abs(d).max()) for d in deviations) / _GRID
    if width == 0:
        return 1.0
    total, offset = np.ones(1), 0
    for of_block in deviations:
        # Equal sums differ by rounding errors; they are ties.
        steps = np.ceil(of_block / width - 1e-6).astype(np.int64)
        values, counts = np.unique(steps, return_counts=True)
        longer = np.zeros(len(total) + int(values[-1] - values[0]))
        for shift, count in zip(values - values[0], counts, strict=True):
            longer[shift : shift + len(total)] += total * (count / len(steps))
        total, offset = longer, offset + int(values[0])
    return min(1.0, float(total[max(0, -offset) :].sum()))


def paired_fraction_below(
    gained: int, lost: int, n: int, margin: float, error_share: float = 1.0
) -> Margin:
    """Is the increase of a fraction over the same `n` ≥ 1 items below `margin`?

    `gained` items have the property after a change only, `lost` items before it only; the increase
    is (gained - lost) / n. One-sided score test for matched pairs (Tango 1998): with q, the maximum
    likelihood estimate of the share of lost items if the increase equals the margin m,
    z = (n m - gained + lost) / √(n (2 q + m (1 - m))). With lost = 0 and an increase up to m it is
    `fraction_below`. `bound` is the largest increase that this test does not reject. `error_share`:
    see `_distance_of_look`.
    """
    if not (min(gained, lost) >= 0 and gained + lost <= n and n >= 1 and 0 <= margin <= 1):
        raise ValueError(
            f"invalid counts or margin: {gained} gained, {lost} lost of {n}, margin {margin}"
        )
    estimate, least = (gained - lost) / n, _quantile_of_look(error_share)
    inside, outside = estimate, 1.0
    for _ in range(60):
        middle = (inside + outside) / 2
        if _paired_z(gained, lost, n, middle) <= least:
            inside = middle
        else:
            outside = middle
    z = _distance_of_look(_paired_z(gained, lost, n, margin), error_share)
    return Margin(_outside_if_equal(z, estimate, margin), outside, estimate)


def _paired_z(gained: int, lost: int, n: int, margin: float) -> float:
    """z of Tango 1998, eq. 5 and 6; negative margins occur within the search for the bound."""
    b = (2 * n - gained + lost) * margin - gained - lost
    c = -lost * margin * (1 - margin)
    q = (math.sqrt(max(b * b - 8 * n * c, 0.0)) - b) / (4 * n)
    variance = n * (2 * q + margin * (1 - margin))
    return (n * margin - gained + lost) / math.sqrt(max(variance, n * _NO_VARIANCE))


def _check_finite(values: Floats) -> None:
    if not np.isfinite(values).all():
        raise ValueError(
            f"{np.count_nonzero(~np.isfinite(values))} of {values.size} values are NaN or infinite"
        )


# Divergences


def kl(log_p: ArrayLike, log_q: ArrayLike) -> Floats:
    """Kullback-Leibler divergence Σ p (ln p - ln q) over the last axis, in nats.

    From normalised log-probabilities; shapes [..., V] to [...]. Log-probability -inf is probability
    0: in p it contributes 0, in q only it makes the divergence infinite.
    """
    p, q = np.asarray(log_p, dtype=np.float64), np.asarray(log_q, dtype=np.float64)
    return np.maximum(_relative_entropy(p, q), 0.0)


def js(log_p: ArrayLike, log_q: ArrayLike) -> Floats:
    """Jensen-Shannon divergence over the last axis, in nats: the mean KL of p and q to their mean.

    From normalised log-probabilities; shapes [..., V] to [...]. Symmetric, in [0, ln 2]; -inf is
    allowed in both (Lin 1991).
    """
    p, q = np.asarray(log_p, dtype=np.float64), np.asarray(log_q, dtype=np.float64)
    middle = np.logaddexp(p, q) - _LOG_2
    return np.clip((_relative_entropy(p, middle) + _relative_entropy(q, middle)) / 2, 0.0, _LOG_2)


def _relative_entropy(p: Floats, q: Floats) -> Floats:
    with np.errstate(invalid="ignore"):  # -inf - -inf, with weight 0
        terms = np.exp(p) * (p - q)
    return np.asarray(np.where(np.isneginf(p), 0.0, terms).sum(axis=-1), dtype=np.float64)


def log_ratio_sd(log_p: ArrayLike, log_q: ArrayLike) -> Floats:
    """Standard deviation over p of ln q - ln p over the last axis, in nats.

    From normalised log-probabilities; shapes [..., V] to [...]. If q is p exp(λ d), normalised, it
    is λ times the standard deviation of d. Outcomes with probability 0 in p do not count.
    """
    p, q = np.asarray(log_p, dtype=np.float64), np.asarray(log_q, dtype=np.float64)
    weights = np.exp(p)
    with np.errstate(invalid="ignore"):  # -inf - -inf, with weight 0
        d = np.where(weights > 0, q - p, 0.0)
    mean = (weights * d).sum(axis=-1, keepdims=True)
    return np.asarray(np.sqrt((weights * (d - mean) ** 2).sum(axis=-1)), dtype=np.float64)
