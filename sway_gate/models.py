"""How a spec's models are opened: which backend serves them, what it can do, and how it is loaded when it is needed."""

import gc
import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path
from typing import NamedTuple

from sway_gate import gate, nulls
from sway_gate.backends import ALL, Backend, Capability, custom, dummy
from sway_gate.backends.one_base import OneBase
from sway_gate.errors import Undecided
from sway_gate.progress import Progress
from sway_gate.spec import Spec

_SHARED: ContextVar[OneBase | None] = ContextVar("shared", default=None)


class Opened(NamedTuple):
    """`load` is called at most once, and only where something is left to measure."""

    capabilities: frozenset[Capability]
    load: Callable[[], Backend]
    notes: tuple[str, ...] = ()


def open_models(spec: Spec, folders: tuple[Path, Path] | None, settings: nulls.Settings, progress: Progress) -> Opened:
    """`folders` of base and adapter, None for backends that are not made of files."""
    base, ft = spec.models.base, spec.models.ft
    if folders is None:
        backend = custom.load(ft.entry_point or "", base, ft) if ft.kind == "custom" else dummy.load(base, ft)
        ran = (f"warning: custom backend {ft.entry_point}: its code ran on this machine",)
        return Opened(backend.capabilities, lambda: backend, ran if ft.kind == "custom" else ())
    if spec.defaults.differential:
        return Opened(ALL, lambda: _load(spec, folders, settings, progress))
    lacking = ("differential: false: two models are loaded, without null adapters and other scales",)
    return Opened(frozenset({"generation", "recall"}), lambda: _load(spec, folders, None, progress), lacking)


def _load(spec: Spec, folders: tuple[Path, Path], settings: nulls.Settings | None, progress: Progress) -> Backend:
    """The Hugging Face backend; two models side by side where there are no nulls to draw."""
    progress("loading the model", 0, 0)
    with _without_collections():
        # peft imports it where it is installed, and it warns of kernels that only some GPUs and CPUs have.
        logging.getLogger("bitsandbytes").setLevel(logging.ERROR)
        try:
            from sway_gate.backends import hf, two_models
        except ImportError as error:
            raise Undecided(f"{error}; install the extra: pip install 'sway-gate[hf]'") from None
        base, adapter = folders
        source = hf.Source(base, adapter, *gate.loading(spec), seed=spec.defaults.seed)
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
