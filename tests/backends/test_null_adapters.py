import numpy as np
import pytest

from sway_gate.backends import null_adapters

SHAPES = {
    "tall": (8, 64, 96),
    "square": (16, 16, 16),
    "rank above width": (12, 8, 40),
    "rank one": (1, 30, 20),
}


def delta(r: int, n_in: int, n_out: int, seed: int = 0) -> null_adapters.LowRank:
    rng = np.random.default_rng(seed)
    decay = 0.5 ** np.arange(r)
    a = rng.standard_normal((r, n_in)).astype(np.float32) * decay[:, None].astype(np.float32)
    return null_adapters.LowRank(a, rng.standard_normal((n_out, r)).astype(np.float32), 2.0)


def spectrum(matrix: np.ndarray, k: int) -> np.ndarray:
    return np.linalg.svd(matrix.astype(np.float64), compute_uv=False)[:k]


@pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES)
@pytest.mark.parametrize("scale", [0.1, 1.0, 10.0])
def test_spectrum_nulls_keep_each_modules_singular_values(
    shape: tuple[int, int, int], scale: float
) -> None:
    own = delta(*shape)
    own = own._replace(b=own.b * np.float32(scale))
    expected = spectrum(own.b.astype(np.float64) @ own.a, min(shape))
    draws = null_adapters.low_rank("layer", own, null_adapters.NullSettings(runs=4))
    for a, b in zip(draws.a, draws.b, strict=True):
        np.testing.assert_allclose(
            spectrum(b.astype(np.float64) @ a, min(shape)), expected, atol=1e-5 * expected[0]
        )


def test_singular_values_without_the_product() -> None:
    own = delta(8, 64, 96)
    np.testing.assert_allclose(
        null_adapters.singular_values(own), spectrum(own.b.astype(np.float64) @ own.a, 8), rtol=1e-6
    )


def test_a_draw_does_not_depend_on_the_others() -> None:
    own = delta(4, 20, 30)
    few, many = (
        null_adapters.low_rank("m", own, null_adapters.NullSettings(runs=n)) for n in (3, 9)
    )
    np.testing.assert_array_equal(few.a, many.a[:3])
    np.testing.assert_array_equal(few.b, many.b[:3])


@pytest.mark.parametrize("change", ["name", "seed_base"])
def test_draws_differ_by_module_and_seed(change: str) -> None:
    own, settings = delta(4, 20, 30), null_adapters.NullSettings(runs=3)
    other = settings._replace(seed_base=7) if change == "seed_base" else settings
    first = null_adapters.low_rank("m", own, settings)
    second = null_adapters.low_rank("n" if change == "name" else "m", own, other)
    assert not np.allclose(first.a, second.a)


@pytest.mark.parametrize(
    ("rows", "columns"), [(64, 4), (8, 8), (6, 3)], ids=["cholesky", "square", "qr"]
)
def test_haar_columns_are_orthonormal_and_unbiased(rows: int, columns: int) -> None:
    """Entries have mean 0 and variance 1 / rows; a square matrix has E|tr Q|² = 1."""
    q = null_adapters.haar(
        np.random.default_rng(0).standard_normal((4000, rows, columns)).astype(np.float32)
    )
    np.testing.assert_allclose(
        np.swapaxes(q, 1, 2) @ q,
        np.broadcast_to(np.eye(columns), (4000, columns, columns)),
        atol=2e-5,
    )
    assert abs(q[:, 0, 0].mean()) < 4 / np.sqrt(4000 * rows)
    assert q[:, 0, 0].var() == pytest.approx(1 / rows, rel=0.15)
    if rows == columns:
        assert (np.trace(q, axis1=1, axis2=2) ** 2).mean() == pytest.approx(1.0, rel=0.15)


def test_init_nulls_are_gaussian_factors_of_the_same_structure() -> None:
    own = delta(8, 300, 200)
    draws = null_adapters.low_rank(
        "m", own, null_adapters.NullSettings(runs=4, kind="init", init_scale=0.05)
    )
    assert (draws.a.shape, draws.b.shape) == ((4, 8, 300), (4, 200, 8))
    assert draws.a.std() == pytest.approx(0.05, rel=0.05)
    assert draws.b.std() == pytest.approx(0.05 * own.scaling, rel=0.05)


def test_the_variance_of_ba_is_linear_in_rank() -> None:
    """Therefore a null at scale √c is equivalent to a null of c times the rank."""
    settings = null_adapters.NullSettings(runs=16, kind="init", init_scale=0.1)
    variance = {
        r: np.var(_products(null_adapters.low_rank("m", delta(r, 80, 60), settings)))
        for r in (4, 8, 16)
    }
    assert variance[8] / variance[4] == pytest.approx(2, rel=0.1)
    assert variance[16] / variance[4] == pytest.approx(4, rel=0.1)


def _products(draws: null_adapters.LowRank) -> np.ndarray:
    return draws.b @ draws.a
