"""How much of an adapter's change the stored weights of an artefact contain.

The share of a matrix is the projection of (stored - base) on the merge's change of the base: 1 for
the merge, 0 for the base, another number for another adapter. Rounding errors are independent of
the change: they add noise, which is averaged over the weights. They depend on it only if the base
lies on the grid of the rounding. A rounding that is known is therefore applied to the merge, too.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from sway_gate.stats import Floats

_TOLERANCE = 0.1
"""Other ways to merge and to store cause up to .05. Another training with the same seed and mostly
the same data causes .12, one with other settings .6, half the strength .4."""
_LEAST_KEPT = 0.5
"""A form that keeps less of the change cannot show that it is there."""
_MAX_NOISE = 0.5
_LEAST_COVERED, _LEAST_KNOWN = 0.9, 0.25
_ANOTHER_MATRIX = 0.25
"""Rounding changes less than this share of a matrix's sum of squares."""


class Rows(NamedTuple):
    """Some rows of a matrix, by their `numbers` [n]: of the base and of its merges [n, in].

    `merges`: the exact sum, and this sum rounded to bfloat16. Either is right.
    """

    numbers: NDArray[np.intp]
    base: Floats
    merges: tuple[Floats, ...]


class Stored(NamedTuple):
    """The same rows in an artefact, and how it rounds values of these rows; None if not known."""

    values: Floats
    rounded: Callable[[Floats], Floats] | None


class Fit(NamedTuple):
    """The share of the adapter's change in an artefact's weights, averaged over its matrices.

    `expected`: of the merge in this form. `deviation`: the root mean square difference of the two
    over the matrices, beyond the noise of a rounding that is not known. `is_known`: whether the
    rounding of these matrices is known. If not, it can depend on the change, so that another share
    shows nothing.
    """

    share: float
    expected: float
    deviation: float
    is_known: bool = True

    @property
    def is_wrong(self) -> bool:
        return self.is_known and self.deviation > _TOLERANCE

    @property
    def is_right(self) -> bool:
        return self.deviation <= _TOLERANCE and self.expected >= _LEAST_KEPT


class _Shares(NamedTuple):
    """The shares of all matrices, compared with one of the merges: [matrices].

    `variances`: of a share by rounding; 0 if it is known. `sizes`: squares of the merge's change.
    """

    found: Floats
    expected: Floats
    variances: Floats
    sizes: Floats


def fit(wanted: Mapping[str, Rows], stored: Mapping[str, Stored]) -> Fit | None:
    """How the stored weights fit the merge, by the name of the matrix.

    Only the matrices whose rounding is known count, if they have enough of the change. None if the
    weights do not show it: too few of the matrices are found, or rounding hides the change.
    """
    pairs = [
        (rows, stored[name])
        for name, rows in wanted.items()
        if name in stored and _is_same_matrix(rows.base, stored[name].values)
    ]
    changed = sum(_change(rows) for rows in wanted.values())
    if not pairs or sum(_change(rows) for rows, _ in pairs) < _LEAST_COVERED * changed:
        return None
    known = [(rows, values) for rows, values in pairs if values.rounded]
    is_known = sum(_change(rows) for rows, _ in known) >= _LEAST_KNOWN * changed
    shares = _shares(known if is_known else pairs)
    fits = [found for each in shares if (found := _averaged(each)) is not None]
    closest = min(fits, key=lambda found: found.deviation, default=None)
    return closest and closest._replace(is_known=is_known)


def _shares(pairs: Sequence[tuple[Rows, Stored]]) -> Iterator[_Shares]:
    """By each merge."""
    for merges in zip(*(rows.merges for rows, _ in pairs), strict=True):
        columns = [
            _share(rows.base, merge, stored)
            for (rows, stored), merge in zip(pairs, merges, strict=True)
        ]
        yield _Shares(*np.array(columns).T)


def _share(base: Floats, merge: Floats, stored: Stored) -> tuple[float, float, float, float]:
    """The fields of `_Shares` for one matrix; a merge that changes nothing has no weight."""
    change = merge - base
    size = float(np.vdot(change, change))
    if not size:
        return 0.0, 0.0, 0.0, 0.0
    found = float(np.vdot(stored.values - base, change)) / size
    if stored.rounded:
        return found, float(np.vdot(stored.rounded(merge) - base, change)) / size, 0.0, size
    return found, 1.0, float(np.mean((stored.values - merge) ** 2)) / size, size


def _averaged(shares: _Shares) -> Fit | None:
    """None if the merge changes nothing, or the noise is too large.

    If there is only noise, the squared deviation has the mean Σ part and the variance 2 · Σ part².
    """
    if not shares.sizes.any():
        return None
    weights = shares.sizes / shares.sizes.sum()
    parts = weights * shares.variances
    noise = parts.sum() + 3 * np.sqrt(2 * np.sum(parts**2))
    if noise > _MAX_NOISE**2:
        return None
    square = weights @ (shares.found - shares.expected) ** 2
    return Fit(
        share=float(weights @ shares.found),
        expected=float(weights @ shares.expected),
        deviation=float(np.sqrt(max(0.0, square - noise))),
    )


def _is_same_matrix(base: Floats, stored: Floats) -> bool:
    """Whether the rows are the base's up to rounding: some formats reorder or scale them."""
    return bool(np.sum((stored - base) ** 2) < _ANOTHER_MATRIX * np.sum(base**2))


def _change(rows: Rows) -> float:
    return float(np.sum((rows.merges[0] - rows.base) ** 2))
