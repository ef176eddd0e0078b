"""Null adapters: random adapters of the same structure, which have learned nothing.

`spectrum` tests whether the direction matters at this size: each module keeps its singular values
and gets random singular vectors. They are Haar-distributed: the Q of a Gaussian matrix's QR
decomposition with fixed signs (Mezzadri 2007, "How to generate random matrices from the classical
compact groups"). Scaling an adapter scales its nulls. `init` is a LoRA of the same structure with
Gaussian factors of standard deviation `init_scale`.

The factors of a DoRA are drawn in the same way. Its magnitudes, relative to the row norms of the
base's weights, are the adapter's in a random order of the rows; `init` keeps the base's row norms.

A draw depends only on (seed, module name): not on other draws and not on the device.
"""

import hashlib
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from sway_gate.measurements import Floats

Array = NDArray[np.float32]

# Cholesky QR squares the condition number. It is below 3 for Gaussian matrices that are at least
# this many times taller than wide.
_TALL = 4


class NullSettings(NamedTuple):
    """How nulls are drawn; `runs` is their number."""

    runs: int
    kind: Literal["spectrum", "init"] = "spectrum"
    init_scale: float = 0.02
    seed_base: int = 1000


class Magnitude(NamedTuple):
    """The row norms of a DoRA's weights [..., out], and of the base's [out]."""

    adapted: Array
    base: Array


class LowRank(NamedTuple):
    """One module's change ΔW = b @ a, with a: [..., r, in] and b: [..., out, r].

    b includes the adapter's `scaling` (alpha / r). The rows of a DoRA's W + b @ a are then scaled
    to the norms in `magnitude`.
    """

    a: Array
    b: Array
    scaling: float = 1.0
    magnitude: Magnitude | None = None


def generator(seed: int, name: str) -> np.random.Generator:
    """The random stream of one null adapter in one module."""
    digest = hashlib.sha256(f"{seed}:{name}".encode()).digest()
    return np.random.Generator(np.random.Philox(key=int.from_bytes(digest[:16], "little")))


def low_rank(name: str, delta: LowRank, settings: NullSettings) -> LowRank:
    """All nulls of one module: a: [runs, ..., r, in], b: [runs, ..., out, r].

    The dimensions before the last two are experts. Each keeps its own singular values.
    """
    (*experts, r, n_in), n_out = delta.a.shape, delta.b.shape[-2]
    streams = [generator(settings.seed_base + i, name) for i in range(settings.runs)]
    if settings.kind == "init":
        a = _gaussian(streams, *experts, r, n_in) * np.float32(settings.init_scale)
        b_scale = np.float32(settings.init_scale * delta.scaling)
        return LowRank(a, _gaussian(streams, *experts, n_out, r) * b_scale, delta.scaling)
    rank = min(r, n_in, n_out)
    root = np.sqrt(singular_values(delta)[..., None, :rank]).astype(np.float32)
    v = haar(_gaussian(streams, *experts, n_in, rank))
    u = haar(_gaussian(streams, *experts, n_out, rank))
    return LowRank(np.ascontiguousarray(np.swapaxes(v * root, -1, -2)), u * root, delta.scaling)


def magnitudes(name: str, trained: Magnitude, settings: NullSettings) -> Array:
    """The row norms of all nulls of one DoRA module: [runs, out]."""
    ones = np.ones_like(trained.base)
    ratio = np.divide(trained.adapted, trained.base, out=ones.copy(), where=trained.base > 0)
    streams = (generator(settings.seed_base + i, f"{name}:m") for i in range(settings.runs))
    draws = [ones if settings.kind == "init" else stream.permutation(ratio) for stream in streams]
    return np.stack(draws) * trained.base


def with_nulls(name: str, delta: LowRank, settings: NullSettings) -> LowRank:
    """The factors of the adapter, then of each null: a [S, ..., r, in], b [S, ..., out, r]."""
    draws = low_rank(name, delta, settings)
    pad = delta.a.shape[-2] - draws.a.shape[-2]  # a null's rank is at most the module's width
    before = [(0, 0)] * (delta.a.ndim - 1)
    a = np.pad(draws.a, [*before, (0, pad), (0, 0)])
    b = np.pad(draws.b, [*before, (0, 0), (0, pad)])
    stacked = LowRank(np.concatenate([delta.a[None], a]), np.concatenate([delta.b[None], b]))
    if (trained := delta.magnitude) is None:
        return stacked
    norms = np.concatenate([trained.adapted[None], magnitudes(name, trained, settings)])
    return stacked._replace(magnitude=Magnitude(norms, trained.base))


def transposed(factors: LowRank) -> LowRank:
    """The factors of the transposed weight, without magnitudes."""
    return LowRank(np.swapaxes(factors.b, -1, -2), np.swapaxes(factors.a, -1, -2), factors.scaling)


def singular_values(delta: LowRank) -> Floats:
    """Singular values of b @ a, descending, from the r x r product of the two QR factors."""
    right = _triangle(np.swapaxes(delta.a, -1, -2))
    core = _triangle(delta.b) @ np.swapaxes(right, -1, -2)
    if not np.isfinite(core).all():
        return np.full(core.shape[:-1], np.nan)
    return np.asarray(np.linalg.svd(core, full_matrices=False, compute_uv=False), dtype=np.float64)


def haar(gaussian: Array) -> Array:
    """Haar-distributed orthonormal columns from Gaussian matrices [..., rows, columns].

    There must be at least as many rows as columns.
    """
    rows, columns = gaussian.shape[-2:]
    if rows < _TALL * columns:
        q, upper = np.linalg.qr(gaussian)
        signs = np.sign(np.diagonal(upper, axis1=-2, axis2=-1))[..., None, :]
        return np.asarray(q * np.where(signs == 0, 1, signs), dtype=np.float32)
    gram = np.swapaxes(gaussian, -1, -2) @ gaussian
    inverse = np.linalg.inv(np.linalg.cholesky(gram.astype(np.float64)))
    return gaussian @ np.swapaxes(inverse, -1, -2).astype(np.float32)


def _gaussian(streams: list[np.random.Generator], *shape: int) -> Array:
    return np.stack([s.standard_normal(shape, dtype=np.float32) for s in streams])


def _triangle(matrix: Array) -> Floats:
    """R of the QR decomposition: it has the matrix's singular values and at most as many rows."""
    _, upper = np.linalg.qr(matrix.astype(np.float64))
    return np.asarray(upper)
