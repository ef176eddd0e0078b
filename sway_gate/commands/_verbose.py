"""What `--verbose` adds on standard error: times by phase, paths and versions."""

import sys
import time
from typing import TYPE_CHECKING

from sway_gate.text import one_line

if TYPE_CHECKING:
    from sway_gate.results import GateResult, ModelFacts


class PhaseClock:
    """The time that each phase of a run takes, from the progress that it reports."""

    def __init__(self) -> None:
        self._seconds: dict[str, float] = {}
        self._phase, self._since = "starting", time.monotonic()

    def start(self, phase: str) -> None:
        """End the current phase."""
        now = time.monotonic()
        self._seconds[self._phase] = self._seconds.get(self._phase, 0.0) + now - self._since
        self._phase, self._since = phase, now

    def text(self) -> str:
        """One line with every phase until now."""
        self.start(self._phase)
        return f"time: {', '.join(f'{p} {s:.2f} s' for p, s in self._seconds.items())}\n"


def facts(result: "GateResult") -> str:
    """The models, the cache and the versions of a result, one line each."""
    from sway_gate import cache

    used = "the verdict is a cached one" if result.cached else "the verdict is new"
    versions = ", ".join(f"{name} {version}" for name, version in result.versions.items())
    lines = [
        f"base: {_model(result.base)}",
        f"adapter: {_model(result.adapter)}",
        f"cache: {cache.cache_dir()} ({used})",
        f"versions: {versions}",
        f"interpreter: {sys.executable}",
        *(f"finding: {found.level} {found.id}: {found.message}" for found in result.findings),
    ]
    return "".join(f"{one_line(line)}\n" for line in lines)


def _model(model: "ModelFacts") -> str:
    revision = f", revision {model.revision}" if model.revision else ""
    return f"{model.path} (sha256 {model.digest or 'unknown'}{revision})"
