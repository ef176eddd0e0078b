"""What the files of an adapter decide, for commands that plan a gate and do not run it."""

from pathlib import Path
from typing import Final

from sway_gate.static.check import check_files

_DECIDES: Final = {
    "verdict": "the gate fails without a measurement",
    "broken": "the gate refuses the adapter",
}


def file_verdicts(adapter: Path) -> list[str]:
    """One line per fault because of which a gate measures nothing, such as no training."""
    findings = check_files(adapter).findings
    return [f"{_DECIDES[f.level]}: {f.message}" for f in findings if f.level in _DECIDES]
