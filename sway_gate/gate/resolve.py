"""Finds what a spec names: folders of models, their digests, versions, training data.

This module stays light: it loads neither numpy nor torch.
"""

import os
import platform
import sys
from collections.abc import Mapping
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import msgspec

from sway_gate.model_files import digest, hub
from sway_gate.results import ModelFacts
from sway_gate.spec import probes
from sway_gate.spec.schema import SCORE_WEIGHTS, Spec
from sway_gate.version import __version__

if TYPE_CHECKING:
    from sway_gate.engine.trace import Observer

_LIBRARIES = ("numpy", "torch", "transformers", "peft")


class Options(NamedTuple):
    """What the command line adds to a spec; None leaves the spec's own value."""

    threshold: float | None = None
    weights: Mapping[str, float] | None = None
    online: bool = False
    cache: bool = True
    observe: "Observer | None" = None
    """Told what is measured while it is (see `sway_gate.engine.trace`); a verdict that is known is then made again."""


class Loading(NamedTuple):
    """How the base is loaded."""

    dtype: str
    device: str
    trust_remote_code: bool


class Job(NamedTuple):
    """A spec with everything that it names found, and what the verdict depends on besides the spec."""

    spec: Spec
    base: ModelFacts
    adapter: ModelFacts
    threshold: float
    weights: dict[str, float]
    versions: dict[str, str]
    platform: str
    cache: bool
    embedders: dict[str, str]
    """Digest of each folder that embeddings are made with."""
    online: bool = False
    observe: "Observer | None" = None


def with_data(spec: Spec) -> Spec:
    """`spec` with the sections of the files that it names. Raises SpecError with every mistake in them."""
    found = []
    if spec.data:
        from sway_gate.training_data.load import load_sections

        found.append(load_sections(spec.data))
    if spec.dlm_source:
        from sway_gate.training_data import dlm

        found.append(dlm.sections(spec.dlm_source, spec.models.ft.adapter or ""))
    sections = {
        s.id: s for s in (*(s for loaded in found for s in loaded.sections), *spec.sections)
    }
    notes = (*spec.notes, *(note for loaded in found for note in loaded.notes))
    return msgspec.structs.replace(spec, sections=tuple(sections.values()), notes=notes)


def prepare(spec: Spec, options: Options) -> Job:
    """Finds the models, offline unless asked otherwise, and takes their digests."""
    base, adapter = _model_facts(spec, options.online)
    return Job(
        spec=spec,
        base=base,
        adapter=adapter,
        threshold=spec.defaults.coverage_threshold
        if options.threshold is None
        else options.threshold,
        weights={**_category_weights(spec), **(options.weights or {})},
        versions=_versions(spec),
        platform=f"{sys.platform} {platform.machine()} {accelerator(load_options(spec).device)}",
        # What code made is not known by its files, and what is incomplete has no digest.
        cache=options.cache and bool(adapter.digest) and not load_options(spec).trust_remote_code,
        embedders={
            folder: digest.model_digest(Path(folder))
            for folder in embedding_models(spec)
            if os.path.isdir(folder)
        },
        online=options.online,
        observe=options.observe,
    )


def embedding_models(spec: Spec) -> list[str]:
    """Hub ids and folders."""
    named = (probes.embedding_models(probe) for probe in spec.suite if probe.enabled)
    return sorted({model for fields in named for model in fields.values()})


def _model_facts(spec: Spec, online: bool) -> tuple[ModelFacts, ModelFacts]:
    base, ft = spec.models.base, spec.models.ft
    found = model_folders(spec, online=online)
    if found is None:
        return ModelFacts(path=base.base, digest=""), ModelFacts(
            path=ft.adapter or ft.base, digest=""
        )
    commit = hub.commit(found[0])
    return (
        ModelFacts(path=base.base, digest=digest.model_identity(found[0], commit), revision=commit),
        ModelFacts(
            path=ft.adapter or "", digest=_adapter_digest(found[1]), revision=hub.commit(found[1])
        ),
    )


def _is_files(spec: Spec) -> bool:
    return spec.models.ft.kind == "hf"


def load_options(spec: Spec) -> Loading:
    """What base and fine-tuned model say of the one load that serves both; what `ft` leaves to itself, `base` says."""
    base, ft = spec.models.base, spec.models.ft
    return Loading(
        base.dtype if ft.dtype == "auto" else ft.dtype,
        base.device if ft.device == "auto" else ft.device,
        base.trust_remote_code or ft.trust_remote_code,
    )


def model_folders(spec: Spec, *, online: bool = False) -> tuple[Path, Path] | None:
    """Where base and adapter lie on this machine; None where code of the backend makes them."""
    if not _is_files(spec):
        return None
    base, ft = spec.models.base, spec.models.ft
    return (
        hub.local(base.base, base.revision or ft.revision, online=online, what="base model"),
        hub.local(ft.adapter or "", ft.adapter_revision, online=online, what="adapter"),
    )


def _category_weights(spec: Spec) -> dict[str, float]:
    given: Any = spec.defaults.score_weights or SCORE_WEIGHTS
    return dict(given)


def _adapter_digest(folder: Path) -> str:
    """Of the files that count; "" where one is missing, which the static check then names."""
    try:
        return digest.adapter_digest(folder)
    except Exception:
        return ""


def _versions(spec: Spec) -> dict[str, str]:
    found = {"sway-gate": __version__, "python": platform.python_version()}
    special = (library for probe in spec.suite if probe.enabled for library in probe.libraries)
    for library in dict.fromkeys((*_LIBRARIES, *special)):
        try:
            found[library] = metadata.version(library)
        except metadata.PackageNotFoundError:
            found[library] = "absent"
    return found


def accelerator(device: str) -> str:
    """The device class without asking torch: the one named, or whether a CUDA device is visible."""
    if device != "auto":
        return device
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    return "cuda" if visible not in ("", "-1") and os.path.exists("/dev/nvidiactl") else "auto"
