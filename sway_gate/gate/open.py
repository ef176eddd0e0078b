"""How a spec's models are opened: which backend serves them, what it can do, and how it is loaded when it is needed."""

import gc
import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from sway_gate.backends import custom, dummy, null_adapters
from sway_gate.backends.base import ALL, Backend, Capability
from sway_gate.errors import CannotDecide
from sway_gate.gate.resolve import load_options
from sway_gate.output import Progress
from sway_gate.spec.schema import Spec

if TYPE_CHECKING:
    from sway_gate.backends import hf
    from sway_gate.backends.loading import Source


class OneBase:
    """Keeps the base that was loaded last. Each adapter is taken off it before the next is put on."""

    def __init__(self) -> None:
        self._base: Source | None = None
        self._opened: tuple[Any, Any, str] | None = None
        self._last: hf.HfBackend | None = None

    def load(self, source: "Source", settings: null_adapters.NullSettings) -> "hf.HfBackend":
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


_SHARED: ContextVar[OneBase | None] = ContextVar("shared", default=None)


class Opened(NamedTuple):
    """`load` is called at most once, and only where something is left to measure."""

    capabilities: frozenset[Capability]
    load: Callable[[], Backend]
    notes: tuple[str, ...] = ()


def open_models(
    spec: Spec,
    folders: tuple[Path, Path] | None,
    settings: null_adapters.NullSettings,
    progress: Progress,
) -> Opened:
    """`folders` of base and adapter, None for backends that are not made of files."""
    base, ft = spec.models.base, spec.models.ft
    if folders is None:
        backend = (
            custom.load(ft.entry_point or "", base, ft)
            if ft.kind == "custom"
            else dummy.load(base, ft)
        )
        ran = (f"warning: custom backend {ft.entry_point}: its code ran on this machine",)
        return Opened(backend.capabilities, lambda: backend, ran if ft.kind == "custom" else ())
    if spec.defaults.differential:
        return Opened(ALL, lambda: _load(spec, folders, settings, progress))
    lacking = (
        "differential: false: two models are loaded, without null adapters and other scales",
    )
    return Opened(
        frozenset({"generation", "teacher_forced"}), lambda: _load(spec, folders, None, progress), lacking
    )


def _load(
    spec: Spec,
    folders: tuple[Path, Path],
    settings: null_adapters.NullSettings | None,
    progress: Progress,
) -> Backend:
    """The Hugging Face backend; two models side by side where there are no nulls to draw."""
    progress("loading the model", 0, 0)
    with _without_collections():
        # peft imports it where it is installed, and it warns of kernels that only some GPUs and CPUs have.
        logging.getLogger("bitsandbytes").setLevel(logging.ERROR)
        try:
            from sway_gate.backends import hf, two_models
            from sway_gate.backends.loading import Source
        except ImportError as error:
            raise CannotDecide(f"{error}; install the extra: pip install 'sway-gate[hf]'") from None
        base, adapter = folders
        source = Source(base, adapter, *load_options(spec), seed=spec.defaults.seed)
        if settings is None:
            return two_models.load(source)
        shared = _SHARED.get()
        return shared.load(source, settings) if shared else hf.load(source, settings)


@contextmanager
def one_base() -> Iterator[None]:
    """Inside, specs with different adapters over one base share a load of it."""
    token = _SHARED.set(OneBase())
    try:
        yield
    finally:
        _SHARED.reset(token)


@contextmanager
def _without_collections() -> Iterator[None]:
    """Importing torch and loading a model makes a million objects that stay: to search them for garbage again and
    again, and once more at exit, takes a third of a short run."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        if enabled:
            gc.enable()
