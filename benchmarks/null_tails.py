"""How honest z is, and how much it sees, at each number of nulls: a Markdown table on stdout.

    python benchmarks/null_tails.py > benchmarks/results/null_tails.md

Null rate: value and nulls are drawn alike; the share of z ≥ 3 should be 0.135 %. Power: normal nulls, and a value
drawn from the same normal moved up by d standard deviations. z ≥ 3 is t ≥ its threshold, which scipy gives; a sample
of every cell goes through `calibrate` itself, which must agree.
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
TINY = 1e-9  # a floor, or a resolution, that never binds


class Null(NamedTuple):
    name: str
    draw: Draw
    floor: float = TINY


def two_levels(rng: np.random.Generator, shape: tuple[int, int]) -> Floats:
    """Four runs of five land at 0, one at 1, each with a tenth of that as noise."""
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
    Null("two levels, floor = the step", two_levels, floor=1.0),
)


def threshold(n: int) -> float:
    """The t that is z = 3 with n nulls."""
    return float(stats.t.isf(stats.norm.sf(3), n - 1))


def thresholds_on_value(nulls: Floats, floor: float) -> Floats:
    """Shape [draws, n] to [draws]: the value from which on z ≥ 3."""
    n = nulls.shape[1]
    sd = np.maximum(nulls.std(axis=1, ddof=1), floor)
    return np.asarray(nulls.mean(axis=1) + threshold(n) * sd * np.sqrt(1 + 1 / n))


def samples(null: Null, n: int) -> Iterator[tuple[Floats, Floats]]:
    """Values, shape [block], and what they have to reach, shape [block]."""
    rng = np.random.default_rng(n)
    for _ in range(DRAWS // BLOCK):
        drawn = null.draw(rng, (BLOCK, n + 1))
        needed = thresholds_on_value(drawn[:, 1:], null.floor)
        for row, limit in zip(drawn[:CHECKED], needed, strict=False):
            assert (z_score(row[0], row[1:], null.floor).z >= 3) == (row[0] >= limit)
        yield drawn[:, 0], needed


def null_rate(null: Null, n: int) -> float:
    return float(np.mean([np.mean(value >= needed) for value, needed in samples(null, n)]))


def needed_effects(n: int) -> Floats:
    """The d, in null standard deviations, that lifts each sampled value to z = 3: its distribution is the power."""
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
    error = 100 * np.sqrt(0.00135 / DRAWS)
    return f"""# z ≥ 3 at each number of nulls

From `benchmarks/null_tails.py`, {DRAWS:,} draws a cell, fixed seeds.

## Null rate: P(z ≥ 3) in per cent, value and nulls drawn alike

Nominal 0.135; standard error of a cell at the nominal rate {error:.4f}.

{table(["nulls", *(f"n = {n}" for n in SIZES)], null_rows)}

Two levels: four runs of five land at 0, one at 1, each with noise of standard deviation 0.1.

## Power: P(z ≥ 3) for a value d null standard deviations above normal nulls

`t` is the threshold on t that z = 3 stands for; the last columns are the d that is seen with that probability.

{table(["n", "t", *(f"d = {d}" for d in EFFECTS), "d, 50 %", "d, 90 %", "d, 99 %"], map(power_row, SIZES))}
"""


def main() -> int:
    sys.stdout.buffer.write(report().encode("utf-8"))
    return 0


if __name__ == "__main__":
    sys.exit(main())
