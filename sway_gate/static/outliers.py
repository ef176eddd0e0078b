"""Modules whose update is far larger than the update of the same module in other layers."""

from collections import defaultdict
from collections.abc import Iterable
from statistics import median

from sway_gate.static.findings import split_at_layer
from sway_gate.static.norms import ModuleNorm

FACTOR = 100
"""In 182 adapters of this project's tests and benchmarks, the largest is 3.5 times the median."""
_MIN_LAYERS = 4


def outliers(norms: Iterable[ModuleNorm]) -> list[str]:
    """Modules with ‖ΔW‖_F above `FACTOR` times the median over the layers."""
    families: dict[tuple[str, str], list[ModuleNorm]] = defaultdict(list)
    for norm in norms:
        families[split_at_layer(norm.module)[::2]].append(norm)
    return [norm.module for family in families.values() for norm in _large(family)]


def _large(family: list[ModuleNorm]) -> list[ModuleNorm]:
    middle = median(norm.frobenius for norm in family)
    is_judged = len(family) >= _MIN_LAYERS and middle > 0
    return [norm for norm in family if is_judged and norm.frobenius > FACTOR * middle]
