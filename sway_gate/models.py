"""How a spec's models are opened: which backend serves them, what it can do, and how it is loaded when it is needed."""

import gc
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from sway_gate import gate, nulls
from sway_gate.backends import ALL, Backend, Capability, custom, dummy
from sway_gate.errors import Undecided
from sway_gate.progress import Progress
from sway_gate.spec import Spec


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
        try:
            from sway_gate.backends import hf, two_models
        except ImportError as error:
            raise Undecided(f"{error}; install the extra: pip install 'sway-gate[hf]'") from None
        base, adapter = folders
        source = hf.Source(base, adapter, *gate.loading(spec), seed=spec.defaults.seed)
        return hf.load(source, settings) if settings else two_models.load(source)


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
