"""The static check as plain text and as JSON-ready data, schema version 1."""

from statistics import median
from typing import Any

import msgspec

from sway_gate.results import Finding
from sway_gate.static.check import StaticReport
from sway_gate.static.norms import ModuleNorm
from sway_gate.text import clean, counted, number, one_line

_LABELS = {
    "broken": "ERROR",
    "verdict": "FAIL",
    "warning": "WARNING",
    "waived": "WAIVED",
    "note": "NOTE",
}
_HEADLINES = {
    "never-trained": "never trained",
    "non-finite": "NaN or Inf",
    "alpha-zero": "scaled to zero",
}


def to_dict(report: StaticReport) -> dict[str, Any]:
    """Convert `report` to JSON-ready data; all texts can be encoded."""
    fields = {"schema_version": 1, "verdict": verdict(report), "exit_code": report.exit_code}
    encodable: dict[str, Any] = _clean(fields | msgspec.to_builtins(report))
    return encodable


def verdict(report: StaticReport) -> str:
    """`broken`, the reasons why the adapter has no effect, or `ok`."""
    if report.exit_code == 2:
        return "broken"
    decisive = [f.id for f in report.findings if f.level == "verdict"]
    return ", ".join(_HEADLINES.get(id, "waiver expired") for id in decisive) or "ok"


def render(report: StaticReport, verbose: bool = False) -> str:
    """Render verdict, findings (most severe first) and summary; with `verbose` one line per module.

    Norms are norms of ΔW.
    """
    order = list(_LABELS)
    findings = sorted(report.findings, key=lambda finding: order.index(finding.level))
    lines = [one_line(f"{verdict(report)}: {report.path}")]
    for finding in findings:
        lines += _finding(finding)
    if report.modules:
        lines.append(_summary(report))
    if report.modules and verbose:
        lines += _table(report.modules)
    return "\n".join(lines) + "\n"


def _finding(finding: Finding) -> list[str]:
    lines = [one_line(f"{_LABELS[finding.level]} {finding.id}: {finding.path}: {finding.message}")]
    if finding.remedy:
        lines.append("  " + one_line(f"→ {finding.remedy}"))
    return lines


def _summary(report: StaticReport) -> str:
    ranks = sorted({module.r for module in report.modules})
    total = sum(module.frobenius**2 for module in report.modules) ** 0.5
    stable = median(module.stable_rank for module in report.modules)
    span = f"{ranks[0]}" if len(ranks) == 1 else f"{ranks[0]}–{ranks[-1]}"
    count = counted(len(report.modules), "module")
    return f"{count}, r {span}, total ‖ΔW‖_F {number(total)}, median stable rank {number(stable)}"


def _table(modules: tuple[ModuleNorm, ...]) -> list[str]:
    rows = [["layer", "r", "‖ΔW‖_F", "σ₁", "stable", "effective", "module"], *map(_row, modules)]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    widths[-1] = 0  # the last column needs no padding
    return ["  ".join(map(str.rjust, row, widths)) for row in rows]


def _row(m: ModuleNorm) -> list[str]:
    values = (m.frobenius, m.spectral, m.stable_rank, m.effective_rank)
    layer = "–" if m.layer is None else str(m.layer)
    return [layer, str(m.r), *map(number, values), one_line(m.module)]


def _clean(value: Any) -> Any:
    match value:
        case dict():
            return {clean(key): _clean(item) for key, item in value.items()}
        case list() | tuple():
            return [_clean(item) for item in value]
        case str():
            return clean(value)
    return value
