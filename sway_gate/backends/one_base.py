"""One load of a base for adapters that are judged one after another."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

from sway_gate import nulls

if TYPE_CHECKING:
    from sway_gate.backends import hf


class OneBase:
    """Keeps the base that was loaded last. Each adapter is taken off it before the next is put on."""

    def __init__(self) -> None:
        self._base: hf.Source | None = None
        self._opened: tuple[Any, Any, str] | None = None
        self._last: hf.HfBackend | None = None

    def load(self, source: "hf.Source", settings: nulls.Settings) -> "hf.HfBackend":
        """As `hf.load`. The backend that it gave before serves no more."""
        from sway_gate.backends import hf, loading

        if self._last is not None:
            self._last.leave()
        base = source._replace(adapter=Path())
        if self._opened is None or base != self._base:
            self._opened = self._last = None  # two bases need not fit
            self._opened, self._base = loading.open_base(source), base
        self._last = hf.load(source, settings, self._opened)
        return self._last
