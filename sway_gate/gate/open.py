"""Opens the backend of a job: its capabilities at once, its models when they are needed."""

import gc
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sway_gate import cache
from sway_gate.backends import custom, dummy
from sway_gate.backends.base import ALL, OF_MODELS, Backend, Capability
from sway_gate.backends.null_adapters import NullSettings
from sway_gate.errors import CannotDecide, is_out_of_memory
from sway_gate.gate.context import probe_context
from sway_gate.gate.resolve import Folders, Job, check_unchanged, load_options, tokenizer_folder
from sway_gate.output import Progress
from sway_gate.spec.schema import Spec

if TYPE_CHECKING:
    from sway_gate.backends import hf
    from sway_gate.backends.loading import Source


class OpenBase:
    """Keeps the last loaded base. Its adapter is removed before the next one is applied.

    `readings`: what was measured so far, by context; also of jobs that store nothing.
    """

    def __init__(self) -> None:
        self.readings: dict[str, cache.Readings] = {}
        self._base: tuple[Source, str] | None = None
        self._opened: tuple[Any, Any, str] | None = None
        self._last: hf.HfBackend | None = None

    def load(self, source: "Source", settings: NullSettings, digest: str) -> "hf.HfBackend":
        """Like `hf.load`, but reuses a base of the same digest.

        The backend returned before becomes invalid.
        """
        from sway_gate.backends import hf, loading

        if self._last is not None:
            self._last.leave()
        base = source._replace(adapter=Path()), digest
        if self._opened is None or base != self._base:
            self._opened = self._last = None  # two bases might not fit into memory
            self._opened, self._base = loading.open_base(source), base
        opened, self._opened, self._last = self._opened, None, None
        self._last = hf.load(source, settings, opened)  # a failure leaves a changed base
        self._opened = None if self._last.is_base_changed else opened
        return self._last


class Opened:
    """A backend that is loaded on demand. `backend` is None until then."""

    def __init__(
        self,
        capabilities: frozenset[Capability],
        load: Callable[[], Backend],
        notes: tuple[str, ...] = (),
    ) -> None:
        self.capabilities, self.notes = capabilities, notes
        self.backend: Backend | None = None
        self._load = load

    def load(self) -> Backend:
        """The backend, which is loaded once."""
        self.backend = self.backend or self._load()
        return self.backend


def open_models(
    job: Job, settings: NullSettings, progress: Progress, base: OpenBase | None
) -> Opened:
    """The job's backend. `base` shares one load of a base model between jobs."""
    if job.spec.models.is_api:
        return _open_api(job, progress)
    if job.folders is None:
        return _open_code(job.spec)
    if job.spec.models.ft.kind == "mlx":
        return Opened(ALL, partial(_load_mlx, job, job.folders, settings, progress))
    if job.spec.defaults.differential:
        return Opened(ALL, partial(_load, job, job.folders, settings, progress, base))
    lacking = "differential: false: loads two models, without null adapters and scales"
    return Opened(
        OF_MODELS | {"generation", "teacher_forced"},
        partial(_load, job, job.folders, None, progress, None),
        (lacking,),
    )


def _open_code(spec: Spec) -> Opened:
    """A backend without files: the user's own code, or a synthetic one."""
    base, ft = spec.models.base, spec.models.ft
    if ft.kind == "dummy":
        synthetic = dummy.load(base, ft)
        return Opened(synthetic.capabilities, lambda: synthetic)
    backend = custom.load(ft.entry_point or "", base, ft)
    ran = f"warning: custom backend: code of {ft.entry_point} ran on this machine"
    return Opened(backend.capabilities, lambda: backend, (ran,))


def _open_api(job: Job, progress: Progress) -> Opened:
    """Models on a server, which is asked what it gives."""
    from sway_gate.backends.api.opening import open_api

    progress("asking the server", 0, 0)
    base, ft = job.spec.models.base, job.spec.models.ft
    folder = tokenizer_folder(job.spec, online=job.online)
    chat = probe_context(job.spec, None, job.online).has_template
    backend = open_api(base, ft, folder, has_template=chat)
    return Opened(backend.capabilities, lambda: backend)


def _load(
    job: Job,
    folders: Folders,
    settings: NullSettings | None,
    progress: Progress,
    base: OpenBase | None,
) -> Backend:
    """The Hugging Face backend. `settings` None loads two models, without null adapters.

    Raises CannotDecide if the files changed since their digests were computed.
    """
    progress("loading the model", 0, 0)
    with _without_collections():
        try:
            from sway_gate.backends import hf, two_models
            from sway_gate.backends.loading import Source
        except ImportError as error:
            raise _missing("hf", error) from None
        source = Source(
            folders.base,
            folders.adapter,
            *load_options(job.spec),
            seed=job.spec.defaults.seed,
            is_full=folders.is_full,
        )
        if settings is None:
            backend = two_models.load(source)
        elif base:
            backend = base.load(source, settings, job.base.digest)
        else:
            backend = hf.load(source, settings)
    check_unchanged(job)
    return backend


def _load_mlx(job: Job, folders: Folders, settings: NullSettings, progress: Progress) -> Backend:
    progress("loading the model", 0, 0)
    with _without_collections():
        try:
            from sway_gate.backends import mlx
        except ImportError as error:
            raise _missing("mlx", error) from None
        options = load_options(job.spec)
        source = mlx.Source(folders.base, folders.adapter, options.dtype, options.device)
        backend = mlx.load(source, settings)
    check_unchanged(job)
    return backend


def _missing(extra: str, error: ImportError) -> Exception:
    """The reason why libraries cannot be imported."""
    if is_out_of_memory(error):
        return MemoryError()
    return CannotDecide(f"{error}; install the extra: pip install 'sway-gate[{extra}]'")


@contextmanager
def _without_collections() -> Iterator[None]:
    """Disable garbage collection while torch is imported and a model is loaded.

    Both create a million objects that stay. Scanning them again and again, and once more at exit,
    takes a third of a short run.
    """
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        if enabled:
            gc.enable()
