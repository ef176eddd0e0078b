"""Norms of each module's update ΔW = s·B·A, from its singular values, without computing B·A."""

import math
from typing import Any, NamedTuple

import msgspec
import numpy as np
from numpy.typing import NDArray

from sway_gate.results import Finding
from sway_gate.static.adapter import Adapter
from sway_gate.static.content import CHUNK, FLOATS
from sway_gate.static.findings import compact, split_at_layer
from sway_gate.static.weights import BITS, Weights

_MAX_RANK, _MAX_NORM_WORK = 2048, 2e12
"""Limits: r of one module, and multiply-adds over all modules (about a minute)."""

Bits = NDArray[Any]
Doubles = NDArray[np.float64]


class ModuleNorm(msgspec.Struct, frozen=True, kw_only=True):
    """Norms of one module's update ΔW = s·B·A with singular values σ.

    s = alpha/r, or alpha/√r for rsLoRA.
    """

    module: str
    layer: int | None
    r: int
    frobenius: float
    """‖ΔW‖_F, in the units of the weights."""
    spectral: float
    """σ₁."""
    stable_rank: float
    """‖ΔW‖_F² / σ₁²; 0 if ΔW is 0."""
    effective_rank: float
    """exp of the entropy of σ/Σσ (Roy & Vetterli 2007); 0 if ΔW is 0."""


def module_norms(
    adapter: Adapter, ranks: dict[str, int], alphas: dict[str, float]
) -> tuple[tuple[ModuleNorm, ...], list[Finding]]:
    """Norms of each module with finite factors of an inspected dtype, up to the limit of work."""
    rows, skipped, work = [], [], 0.0
    for module, rank in ranks.items():
        a, b = adapter.shape(module, "A"), adapter.shape(module, "B")
        work += a[0] ** 3 + a[0] * (math.prod(a) + math.prod(b))
        names = [adapter.parts[module][part] for part in "BA"]
        if any(adapter.content[name].nonfinite for name in names):
            continue
        is_plain = a[0] == rank and math.prod(b) == b[0] * b[1]
        is_float = all(adapter.weights.tensors[name].dtype in FLOATS for name in names)
        fits = rank <= _MAX_RANK and work <= _MAX_NORM_WORK
        row = _norm(adapter, module, alphas[module]) if is_plain and is_float and fits else None
        if row:
            rows.append(row)
        else:
            skipped.append(module)
    rows.sort(key=lambda row: (-1 if row.layer is None else row.layer, row.module))
    if not skipped:
        return tuple(rows), []
    reason = "because of their dtype, shape, size or range"
    message = f"no norms for {len(skipped)} modules {reason}: {compact(skipped)}"
    return tuple(rows), [adapter.finding("note", "norms-skipped", message)]


def _norm(adapter: Adapter, module: str, alpha: float) -> ModuleNorm | None:
    """None if ΔW exceeds the range of a double."""
    rank = adapter.shape(module, "A")[0]
    divisor = math.sqrt(rank) if adapter.config.use_rslora else rank
    b, a = (_matrix(adapter.weights, adapter.parts[module][part]) for part in "BA")
    with np.errstate(all="ignore"):
        try:
            sigma = abs(alpha) / divisor * _singular_values(b, a)
        except np.linalg.LinAlgError:
            return None
        total, frobenius = float(sigma.sum()), float(np.linalg.norm(sigma))
    if not math.isfinite(total):
        return None
    share = sigma[sigma > 0] / (total or 1.0)
    return ModuleNorm(
        module=module,
        layer=split_at_layer(module)[1],
        r=rank,
        frobenius=frobenius,
        spectral=float(sigma.max()),
        stable_rank=(frobenius / float(sigma.max())) ** 2 if total else 0.0,
        effective_rank=math.exp(-float(share @ np.log(share))) if total else 0.0,
    )


class _Matrix(NamedTuple):
    """A 2-D tensor as stored, with its dtype. BF16 is stored as unsigned integers."""

    bits: Bits
    dtype: str

    @property
    def T(self) -> "_Matrix":
        return _Matrix(self.bits.T, self.dtype)

    def doubles(self, start: int = 0, stop: int | None = None) -> Doubles:
        """Rows `start` to `stop` as float64."""
        part = self.bits[start:stop]
        if self.dtype == "BF16":
            return (part.astype(np.uint32) << np.uint32(16)).view(np.float32).astype(np.float64)
        return part.astype(np.float64)


def _matrix(weights: Weights, name: str) -> _Matrix:
    """The tensor as [shape[0], all other dimensions]; the Frobenius norm remains the same."""
    dtype, shape = weights.tensors[name].dtype, weights.tensors[name].shape
    stored = "<u2" if dtype == "BF16" else f"<f{BITS[dtype] // 8}"
    return _Matrix(weights.raw(name).view(stored).reshape(shape[0], -1), dtype)


def _singular_values(b: _Matrix, a: _Matrix) -> Doubles:
    """Singular values of B [d_out, r] · A [r, d_in], at most r, in no particular order.

    Let X be one of B and Aᵀ, Y the other one, and FᵀF = XᵀX. Then σ²(B·A) are the eigenvalues of
    F·YᵀY·Fᵀ. The error is about 1e-8 of the largest singular value.
    """
    x, y = sorted((b, a.T), key=lambda factor: factor.bits.shape[0])
    root = _root(x)  # [min(d, r), r]
    return _roots(np.linalg.eigvalsh(root @ _gram(y) @ root.T))


def _roots(eigenvalues: Any) -> Doubles:
    """Square roots; values that rounding made negative count as zero."""
    roots: Doubles = np.sqrt(np.maximum(eigenvalues, 0.0))
    return roots


def _root(x: _Matrix) -> Doubles:
    """F [min(d, r), r] with FᵀF = XᵀX, for X [d, r]."""
    if x.bits.shape[0] <= x.bits.shape[1]:
        return x.doubles()
    gram = _gram(x)
    try:
        return np.linalg.cholesky(gram).T.astype(np.float64, copy=False)
    except np.linalg.LinAlgError:  # X does not have full rank
        squares, vectors = np.linalg.eigh(gram)
        root: Doubles = _roots(squares)[:, None] * vectors.T
        return root


def _gram(x: _Matrix) -> Doubles:
    """XᵀX [r, r], for X [d, r]."""
    d, r = x.bits.shape
    total, step = np.zeros((r, r)), max(1, CHUNK // r)
    for start in range(0, d, step):
        part = x.doubles(start, start + step)
        total += part.T @ part
    return total
