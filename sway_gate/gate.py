"""From a spec to a verdict: resolve what it names, look whether the verdict is known, else evaluate and keep it.

This module stays light: a verdict that is known costs neither numpy nor torch.
"""

import os
import platform
import sys
from collections.abc import Mapping
from importlib import metadata
from pathlib import Path, PurePath
from typing import TYPE_CHECKING, Any, NamedTuple

import msgspec

from sway_gate import __version__, cache, digest, hub
from sway_gate.errors import SwayError
from sway_gate.progress import Progress, silent
from sway_gate.result import GateResult, ModelFacts, Verdict
from sway_gate.spec import SCORE_WEIGHTS, AdapterRevert, ClusterKL, Spec

if TYPE_CHECKING:
    from sway_gate.trace import Observer

_LIBRARIES = ("numpy", "torch", "transformers", "peft")
# What only some probes use, and what these then say depends on.
_LIBRARIES_OF = {
    "adapter_revert": ("sentence-transformers",),
    "cluster_kl": ("sentence-transformers", "scikit-learn"),
    "style_fingerprint": ("spacy", "textstat"),
}


class Options(NamedTuple):
    """What the command line adds to a spec; None leaves the spec's own value."""

    threshold: float | None = None
    weights: Mapping[str, float] | None = None
    online: bool = False
    cache: bool = True
    observe: "Observer | None" = None
    """Told what is measured while it is (see `sway_gate.trace`); a verdict that is known is then made again."""


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


def run(spec: Spec, options: Options = Options(), progress: Progress = silent) -> GateResult:
    """The verdict on a spec. Raises SwayError, each with its exit code, where files or models are not to be had."""
    job = prepare(with_data(spec), options)
    key = cache.verdict_key(msgspec.to_builtins(_identity(job)._asdict())) if job.cache else ""
    if job.cache and not job.observe and (stored := cache.load_verdict(key)):
        return _as_named(job, msgspec.json.decode(stored, type=GateResult))
    from sway_gate.evaluate import evaluate

    result = evaluate(job, progress)
    if job.cache and not any(probe.verdict is Verdict.ERROR for probe in result.probes):
        cache.store_verdict(key, msgspec.json.encode(result))
    return result


def _identity(job: Job) -> Job:
    """What the verdict depends on: contents by their digests, wherever they lie, so that another checkout finds it."""
    spec, replace = job.spec, msgspec.structs.replace
    digests = {job.base.path: job.base.digest, job.adapter.path: job.adapter.digest, **job.embedders}

    def content(ref: str) -> str:
        return digests.get(ref, ref) if os.path.isdir(ref) else ref

    base, ft = spec.models.base, spec.models.ft
    models = replace(
        spec.models,
        base=replace(base, base=content(base.base), adapter=None),
        ft=replace(ft, base=content(ft.base), adapter=content(ft.adapter or "")),
    )
    suite = tuple(
        replace(probe, embedding_model=content(probe.embedding_model))
        if isinstance(probe, AdapterRevert | ClusterKL)
        else probe
        for probe in spec.suite
    )
    # What `data` and `dlm_source` hold is among the sections by now.
    spec = replace(spec, models=models, suite=suite, data=(), dlm_source=None, label="", folder="")
    facts = replace(job.base, path=""), replace(job.adapter, path="")
    return job._replace(spec=spec, base=facts[0], adapter=facts[1], embedders={}, online=False, observe=None)


def _as_named(job: Job, stored: GateResult) -> GateResult:
    """A stored result under the names of this run: spec and files may have lain elsewhere."""
    before, now = PurePath(stored.adapter.path), PurePath(job.adapter.path)
    findings = tuple(
        msgspec.structs.replace(finding, path=str(now / PurePath(finding.path).relative_to(before)))
        if PurePath(finding.path).is_relative_to(before)
        else finding
        for finding in stored.findings
    )
    # Static findings quote the base's folder.
    notes = tuple(note.replace(repr(stored.base.path), repr(job.base.path)) for note in stored.notes)
    return msgspec.structs.replace(
        stored, spec=job.spec.label, base=job.base, adapter=job.adapter, findings=findings, notes=notes, cached=True
    )


def with_data(spec: Spec) -> Spec:
    """`spec` with the sections of the files that it names. Raises SpecError with every mistake in them."""
    found = []
    if spec.data:
        from sway_gate import sources

        found.append(sources.load(spec.data))
    if spec.dlm_source:
        from sway_gate import dlm

        found.append(dlm.sections(spec.dlm_source, spec.models.ft.adapter or ""))
    sections = {s.id: s for s in (*(s for loaded in found for s in loaded.sections), *spec.sections)}
    notes = (*spec.notes, *(note for loaded in found for note in loaded.notes))
    return msgspec.structs.replace(spec, sections=tuple(sections.values()), notes=notes)


def prepare(spec: Spec, options: Options) -> Job:
    """Finds the models, offline unless asked otherwise, and takes their digests."""
    base, adapter = _model_facts(spec, options.online)
    return Job(
        spec=spec,
        base=base,
        adapter=adapter,
        threshold=spec.defaults.coverage_threshold if options.threshold is None else options.threshold,
        weights={**_weights(spec), **(options.weights or {})},
        versions=_versions(spec),
        platform=f"{sys.platform} {platform.machine()} {accelerator(loading(spec).device)}",
        # What code made is not known by its files, and what is incomplete has no digest.
        cache=options.cache and bool(adapter.digest) and not loading(spec).trust_remote_code,
        embedders={
            folder: digest.model_digest(Path(folder)) for folder in _embedding_models(spec) if os.path.isdir(folder)
        },
        online=options.online,
        observe=options.observe,
    )


def _embedding_models(spec: Spec) -> list[str]:
    """Hub ids and folders."""
    return sorted({getattr(probe, "embedding_model", "") for probe in spec.suite if probe.enabled} - {""})


def _model_facts(spec: Spec, online: bool) -> tuple[ModelFacts, ModelFacts]:
    base, ft = spec.models.base, spec.models.ft
    found = folders(spec, online=online)
    if found is None:
        return ModelFacts(path=base.base, digest=""), ModelFacts(path=ft.adapter or ft.base, digest="")
    commit = hub.commit(found[0])
    return (
        ModelFacts(path=base.base, digest=digest.model_identity(found[0], commit), revision=commit),
        ModelFacts(path=ft.adapter or "", digest=_adapter_digest(found[1]), revision=hub.commit(found[1])),
    )


def _is_files(spec: Spec) -> bool:
    return spec.models.ft.kind == "hf"


def loading(spec: Spec) -> Loading:
    """What base and fine-tuned model say of the one load that serves both; what `ft` leaves to itself, `base` says."""
    base, ft = spec.models.base, spec.models.ft
    return Loading(
        base.dtype if ft.dtype == "auto" else ft.dtype,
        base.device if ft.device == "auto" else ft.device,
        base.trust_remote_code or ft.trust_remote_code,
    )


def folders(spec: Spec, *, online: bool = False) -> tuple[Path, Path] | None:
    """Where base and adapter lie on this machine; None where code of the backend makes them."""
    if not _is_files(spec):
        return None
    base, ft = spec.models.base, spec.models.ft
    return (
        hub.local(base.base, base.revision or ft.revision, online=online, what="base model"),
        hub.local(ft.adapter or "", ft.adapter_revision, online=online, what="adapter"),
    )


def prefetch(spec: Spec) -> list[str]:
    """Downloads what the spec names at its revisions; a line for each, with where it is and its commit."""
    from sway_gate.embedding import PINNED

    lines = []
    if found := folders(spec, online=True):
        lines = [_fetched("base model", spec.models.base.base, found[0])]
        lines += [_fetched("adapter", spec.models.ft.adapter or "", found[1])]
    for model in _embedding_models(spec):
        what = "embedding model"
        lines.append(_fetched(what, model, hub.local(model, PINNED.get(model), online=True, what=what)))
    return lines or [f"a {spec.models.ft.kind} backend has no files to fetch"]


def _fetched(what: str, ref: str, folder: Path) -> str:
    commit = hub.commit(folder)
    return f"{what} {ref}: {folder}" + (f" ({commit})" if commit else "")


def plan(spec: Spec) -> str:
    """What a run would measure, in words, without any model."""
    from sway_gate.evaluate import outline

    try:
        found = folders(spec)
    except SwayError:
        found = None  # without the base here it is not known whether it has a chat template
    return outline(with_data(spec), found)


def _weights(spec: Spec) -> dict[str, float]:
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
    special = (library for probe in spec.suite if probe.enabled for library in _LIBRARIES_OF.get(probe.kind, ()))
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
