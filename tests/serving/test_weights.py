"""The share of an adapter's change in weights that were rounded, of known origin."""

import numpy as np
import pytest

from sway_gate.serving.weights import Fit, Rows, Stored, fit
from sway_gate.stats import Floats

MATRICES, SHAPE = 12, (48, 64)
STEP = 0.02
"""The step of the grid. The standard deviation of the base's weights is .05, of the change .002."""


def on_grid(values: Floats) -> Floats:
    return np.round(values / STEP) * STEP


def change(generator: np.random.Generator) -> Floats:
    left, right = generator.normal(size=(SHAPE[0], 4)), generator.normal(size=(4, SHAPE[1]))
    return 0.001 * left @ right


def rows_of(base: Floats, generator: np.random.Generator) -> Rows:
    merge = base + change(generator)
    return Rows(np.arange(SHAPE[0]), base, (merge, merge))


def adapter(seed: int = 0) -> dict[str, Rows]:
    generator = np.random.default_rng(seed)
    return {
        f"layer {number}": rows_of(0.05 * generator.normal(size=SHAPE), generator)
        for number in range(MATRICES)
    }


def scaled(wanted: dict[str, Rows], scale: float) -> dict[str, Floats]:
    """The base plus `scale` times the change."""
    return {name: rows.base + scale * (rows.merges[0] - rows.base) for name, rows in wanted.items()}


def fit_of(
    wanted: dict[str, Rows], files: dict[str, Floats], *, is_known: bool = True
) -> Fit | None:
    rounding = on_grid if is_known else None
    return fit(wanted, {name: Stored(on_grid(file), rounding) for name, file in files.items()})


@pytest.mark.parametrize("is_known", [True, False])
@pytest.mark.parametrize("scale", [0.0, 0.5, 1.0, 2.0])
def test_the_share_is_the_scale_of_the_change(scale: float, is_known: bool) -> None:
    wanted = adapter()
    found = fit_of(wanted, scaled(wanted, scale), is_known=is_known)
    assert found is not None
    assert found.share == pytest.approx(scale, abs=0.1)
    assert (found.is_right, found.is_wrong) == (scale == 1.0, is_known and scale != 1.0)


@pytest.mark.parametrize("is_known", [True, False])
def test_another_adapter_with_the_same_total_share_is_wrong(is_known: bool) -> None:
    wanted = adapter()
    half, more = scaled(wanted, 0.5), scaled(wanted, 1.5)
    mixed = {name: (half, more)[i % 2][name] for i, name in enumerate(wanted)}
    found = fit_of(wanted, mixed, is_known=is_known)
    assert found is not None
    assert found.share == pytest.approx(1.0, abs=0.1)
    assert (found.is_right, found.is_wrong) == (False, is_known)


@pytest.mark.parametrize("known", [4, 2])
def test_only_matrices_of_a_known_rounding_refute(known: int) -> None:
    """The others have half of the change: their rounding can depend on it."""
    wanted = adapter()
    whole, half = scaled(wanted, 1.0), scaled(wanted, 0.5)
    found = fit(
        wanted,
        {
            name: Stored(on_grid(whole[name]), on_grid) if i < known else Stored(half[name], None)
            for i, name in enumerate(wanted)
        },
    )
    assert found is not None
    assert (found.is_right, found.is_wrong) == (known == 4, False)
    other = {name: Stored(on_grid(half[name]), on_grid) for name in wanted}
    assert fit(wanted, other).is_wrong  # type: ignore[union-attr]


def test_a_merge_that_was_rounded_before_is_right() -> None:
    exact = adapter()
    before = {name: np.round(rows.merges[0] / 0.007) * 0.007 for name, rows in exact.items()}
    both = {n: rows._replace(merges=(rows.merges[0], before[n])) for n, rows in exact.items()}
    found, without = fit_of(both, before), fit_of(exact, before)
    assert found is not None
    assert without is not None
    assert found.deviation == 0 < without.deviation


def test_a_rounding_that_removes_the_change_is_not_wrong_and_shows_nothing() -> None:
    generator = np.random.default_rng(0)
    wanted = {"a": rows_of(on_grid(0.05 * generator.normal(size=SHAPE)), generator)}
    found = fit_of(wanted, scaled(wanted, 1.0))
    assert found is not None
    assert found.share == found.expected < 0.1
    assert (found.is_right, found.is_wrong) == (False, False)


def test_noise_alone_is_rarely_wrong() -> None:
    """The limit is three standard errors above the mean of the noise, and the tolerance."""
    found = []
    for seed in range(200):
        wanted = adapter(seed)
        noisy = {
            name: Stored(file + np.random.default_rng([seed, i]).normal(0, 0.02, SHAPE), None)
            for i, (name, file) in enumerate(scaled(wanted, 1.0).items())
        }
        found.append(fit(wanted, noisy))
    assert all(found)
    assert sum(one is not None and not one.is_right for one in found) <= 1
    assert sum(one is not None and one.deviation == 0 for one in found) >= 190


def test_weights_that_do_not_show_it() -> None:
    wanted = adapter()
    merges = scaled(wanted, 1.0)
    reversed_rows = {name: file[::-1] for name, file in merges.items()}
    small = {
        name: rows._replace(merges=(file, file))
        for (name, rows), file in zip(wanted.items(), scaled(wanted, 0.1).values(), strict=True)
    }
    assert fit_of(wanted, dict(list(merges.items())[: MATRICES // 2])) is None
    assert fit_of(wanted, reversed_rows) is None
    assert fit_of(wanted, {name: file * np.nan for name, file in merges.items()}) is None
    assert fit_of(small, scaled(wanted, 0.1), is_known=False) is None
    assert fit({}, {}) is None
