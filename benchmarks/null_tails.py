"""Print, as Markdown, the false positive rate and the power of z ≥ 3 for several numbers of nulls.

    python benchmarks/null_tails.py > benchmarks/results/null_tails.md

Null rate: the value and the nulls have the same distribution; z ≥ 3 should occur in 0.135 % of the
draws. Power: the nulls are normal; the value is from the same normal distribution, shifted up by d
standard deviations. Draws are counted by t against the threshold from scipy. A sample of every cell
is also passed to `stats.z_score`, which must agree.
"""

import sys
from collections.abc import Callable, Iterable, Iterator
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from sway_gate.stats import transform, z_score

Floats = NDArray[np.float64]
Draw = Callable[[np.random.Generator, tuple[int, int]], Floats]

SIZES = (3, 4, 8, 16, 32)
EFFECTS = (2, 4, 6, 8, 12, 16, 24)
DRAWS, BLOCK, CHECKED = 1_000_000, 50_000, 200
TINY = 1e-9  # a minimum standard deviation, or a resolution, that has no effect


class Null(NamedTuple):
    name: str
    draw: Draw
    min_sd: float = TINY


def two_levels(rng: np.random.Generator, shape: tuple[int, int]) -> Floats:
    """80 % of the values are at 0 and 20 % at 1, with normal noise of standard deviation 0.1."""
    return (rng.random(shape) < 0.2) + rng.normal(0, 0.1, shape)


NULLS = (
    Null("normal", lambda rng, shape: rng.normal(size=shape)),
    Null("log-normal, raw", lambda rng, shape: rng.lognormal(size=shape)),
    Null(
        "log-normal, through log",
        lambda rng, shape: transform(rng.lognormal(size=shape), "log", TINY),
    ),
    Null("Student's t, 3 df", lambda rng, shape: rng.standard_t(3, shape)),
    Null("uniform", lambda rng, shape: rng.uniform(size=shape)),
    Null("two levels, 80 : 20", two_levels),
    Null("two levels, minimum sd = the step", two_levels, min_sd=1.0),
)


def threshold(n: int) -> float:
    """The t value, with n - 1 degrees of freedom, that has the tail probability of z = 3."""
    return float(stats.t.isf(stats.norm.sf(3), n - 1))


def thresholds_on_value(nulls: Floats, min_sd: float) -> Floats:
    """Smallest value with z ≥ 3 for each draw: nulls [draws, n], result [draws]."""
    n = nulls.shape[1]
    sd = np.maximum(nulls.std(axis=1, ddof=1), min_sd)
    return np.asarray(nulls.mean(axis=1) + threshold(n) * sd * np.sqrt(1 + 1 / n))


def samples(null: Null, n: int) -> Iterator[tuple[Floats, Floats]]:
    """Blocks of values and of the smallest values with z ≥ 3, each of shape [block]."""
    rng = np.random.default_rng(n)
    for _ in range(DRAWS // BLOCK):
        drawn = null.draw(rng, (BLOCK, n + 1))
        needed = thresholds_on_value(drawn[:, 1:], null.min_sd)
        for row, limit in zip(drawn[:CHECKED], needed, strict=False):
            assert (z_score(row[0], row[1:], null.min_sd).z >= 3) == (row[0] >= limit)
        yield drawn[:, 0], needed


def null_rate(null: Null, n: int) -> float:
    return float(np.mean([np.mean(value >= needed) for value, needed in samples(null, n)]))


def needed_effects(n: int) -> Floats:
    """The shift, in null standard deviations, that gives each sampled value z = 3.

    The distribution of these shifts is the power.
    """
    return np.concatenate([needed - value for value, needed in samples(NULLS[0], n)])


def power_row(n: int) -> list[str]:
    needed = needed_effects(n)
    shares = [f"{np.mean(needed <= d):.3f}" for d in EFFECTS]
    return [
        str(n),
        f"{threshold(n):.2f}",
        *shares,
        *(f"{np.quantile(needed, q):.1f}" for q in (0.5, 0.9, 0.99)),
    ]


def table(header: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    head = list(header)
    lines = [head, ["---", *["---:"] * (len(head) - 1)], *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def report() -> str:
    null_rows = [[null.name, *(f"{100 * null_rate(null, n):.3f}" for n in SIZES)] for null in NULLS]
    power_header = ["n", "t", *(f"d = {d}" for d in EFFECTS), "d, 50 %", "d, 90 %", "d, 99 %"]
    error = 100 * np.sqrt(0.00135 / DRAWS)
    return f"""# z ≥ 3 at each number of nulls

From `benchmarks/null_tails.py`, {DRAWS:,} draws per cell, fixed seeds.

## Null rate: P(z ≥ 3) in percent; the value and the nulls have the same distribution

The nominal rate is 0.135. At this rate, the standard error of a cell is {error:.4f}.

{table(["nulls", *(f"n = {n}" for n in SIZES)], null_rows)}

Two levels: 80 % of the values are at 0 and 20 % at 1, plus normal noise (standard deviation 0.1).

## Power: P(z ≥ 3) for a value d null standard deviations above normal nulls

`t` is the threshold on t that corresponds to z = 3. The last columns are the d that is detected
with that probability.

{table(power_header, map(power_row, SIZES))}
"""


def main() -> int:
    sys.stdout.buffer.write(report().encode("utf-8"))
    return 0


if __name__ == "__main__":
    sys.exit(main())
