"""Resolves a spec: training data, folders of models and their digests, versions.

This module loads neither numpy nor torch.
"""

import os
import platform
import sys
from collections.abc import Mapping
from importlib import metadata
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, NamedTuple

import msgspec

from sway_gate.model_files import digest, hub
from sway_gate.model_files.config import model_config
from sway_gate.results import ModelFacts
from sway_gate.spec import probes
from sway_gate.spec.schema import Spec
from sway_gate.version import __version__

if TYPE_CHECKING:
    from sway_gate.engine.trace import Observer

_LIBRARIES = ("numpy", "torch", "transformers", "peft")


class Options(NamedTuple):
    """Options of a run; the threshold and the weights override the spec's."""

    threshold: float | None = None
    weights: Mapping[str, float] = MappingProxyType({})
    online: bool = False
    cache: bool = True
    observe: "Observer | None" = None
    """Receives the events of `sway_gate.engine.trace`; a cached verdict is then not used."""


class Loading(NamedTuple):
    """Settings for loading the base model."""

    dtype: str
    device: str
    trust_remote_code: bool
    quantization: str | None


class Folders(NamedTuple):
    """The folders of the base and of the adapter, or of the fine-tuned model, on this machine."""

    base: Path
    adapter: Path
    is_full: bool = False
    """Whether `adapter` is a fine-tuned model without an adapter."""


class Job(NamedTuple):
    """A resolved spec, and everything else that a run depends on."""

    spec: Spec
    folders: Folders | None
    """None for backends without files."""
    base: ModelFacts
    adapter: ModelFacts
    threshold: float
    weights: dict[str, float]
    versions: dict[str, str]
    platform: str
    cache: bool
    embedders: dict[str, str]
    """Digest of each embedding model that is a folder."""
    online: bool = False
    observe: "Observer | None" = None


def with_data(spec: Spec) -> Spec:
    """`spec` with the sections of its data files. Raises SpecError with every mistake in them."""
    loaded = []
    if spec.data:
        from sway_gate.training_data.load import load_sections

        loaded.append(load_sections(spec.data))
    if spec.dlm_source:
        from sway_gate.training_data import dlm

        loaded.append(dlm.sections(spec.dlm_source, spec.models.ft.adapter or ""))
    sections, notes = {}, spec.notes
    for source in loaded:
        sections.update({section.id: section for section in source.sections})
        notes += source.notes
    sections.update({section.id: section for section in spec.sections})
    held_out = spec.held_out_sections
    if spec.held_out:
        from sway_gate.training_data.load import load_sections

        unseen = load_sections(spec.held_out)
        held_out, notes = unseen.sections, notes + unseen.notes
    return msgspec.structs.replace(
        spec, sections=tuple(sections.values()), held_out_sections=held_out, notes=notes
    )


def prepare(spec: Spec, options: Options) -> Job:
    """Load the data, find the models and compute their digests. Raises SwayError."""
    spec = with_data(spec)
    folders = model_folders(spec, online=options.online)
    base, adapter = _model_facts(spec, folders)
    threshold, loading = options.threshold, load_options(spec)
    return Job(
        spec=spec,
        folders=folders,
        base=base,
        adapter=adapter,
        threshold=spec.defaults.coverage_threshold if threshold is None else threshold,
        weights={**spec.defaults.weights(), **options.weights},
        versions=_versions(spec, folders),
        platform=f"{sys.platform} {platform.machine()} {accelerator(loading.device)}",
        # Digests do not determine the results of remote code; an incomplete adapter has none.
        cache=options.cache and bool(adapter.digest) and not loading.trust_remote_code,
        embedders={
            folder: digest.model_digest(Path(folder))
            for folder in suite_embedders(spec)
            if os.path.isdir(folder)
        },
        online=options.online,
        observe=options.observe,
    )


def suite_embedders(spec: Spec) -> list[str]:
    """The embedding models of the enabled probes: hub ids and folders."""
    models: set[str] = set()
    for probe in spec.suite:
        if probe.enabled:
            models.update(probes.embedding_models(probe).values())
    return sorted(models)


def _model_facts(spec: Spec, folders: Folders | None) -> tuple[ModelFacts, ModelFacts]:
    base, ft = spec.models.base, spec.models.ft
    if folders is None:
        adapter = ft.adapter or ft.base
        return ModelFacts(path=base.base, digest=""), ModelFacts(path=adapter, digest="")
    commit = hub.commit(folders.base)
    return (
        ModelFacts(
            path=base.base, digest=digest.model_identity(folders.base, commit), revision=commit
        ),
        ModelFacts(
            path=ft.adapter or ft.base,
            digest=_digest(folders),
            revision=hub.commit(folders.adapter),
            is_full=folders.is_full,
        ),
    )


def load_options(spec: Spec) -> Loading:
    """Settings of the one load for both models: `ft`'s, or `base`'s where `ft` sets none."""
    base, ft = spec.models.base, spec.models.ft
    return Loading(
        base.dtype if ft.dtype == "auto" else ft.dtype,
        base.device if ft.device == "auto" else ft.device,
        base.trust_remote_code or ft.trust_remote_code,
        ft.quantization or base.quantization,
    )


def model_folders(spec: Spec, *, online: bool = False) -> Folders | None:
    """Find the base and the adapter; None for backends without files. Raises SwayError."""
    base, ft = spec.models.base, spec.models.ft
    if ft.kind != "hf":
        return None
    if spec.models.is_full:
        return Folders(
            hub.local(base.base, base.revision, online=online, what="base model"),
            hub.local(ft.base, ft.revision, online=online, what="fine-tuned model"),
            is_full=True,
        )
    return Folders(
        hub.local(base.base, base.revision or ft.revision, online=online, what="base model"),
        hub.local(ft.adapter or "", ft.adapter_revision, online=online, what="adapter"),
    )


def _digest(folders: Folders) -> str:
    """Digest of the adapter or the fine-tuned model; "" if a file is missing.

    The static check reports missing files.
    """
    try:
        if folders.is_full:
            return digest.model_identity(folders.adapter, hub.commit(folders.adapter))
        return digest.adapter_digest(folders.adapter)
    except Exception:
        return ""


def _versions(spec: Spec, folders: Folders | None) -> dict[str, str]:
    found = {"sway-gate": __version__, "python": platform.python_version()}
    libraries = list(_LIBRARIES)
    if load_options(spec).quantization or (
        folders and "quantization_config" in model_config(folders.base)
    ):
        libraries.append("bitsandbytes")
    for probe in spec.suite:
        if probe.enabled:
            libraries += probe.libraries
    for library in dict.fromkeys(libraries):
        try:
            found[library] = metadata.version(library)
        except metadata.PackageNotFoundError:
            found[library] = "absent"
    return found


def accelerator(device: str) -> str:
    """The device class, found without torch: `device`, or cuda if a CUDA device is visible."""
    if device != "auto":
        return device
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    return "cuda" if visible not in ("", "-1") and os.path.exists("/dev/nvidiactl") else "auto"
