"""Resolves a spec: training data, folders of models and their digests, versions.

This module loads neither numpy nor torch.
"""

import datetime
import hashlib
import os
import platform
import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, NamedTuple

import msgspec

from sway_gate import cache
from sway_gate.errors import CannotDecide, SwayError, UsageError
from sway_gate.gate.precision import is_bfloat16
from sway_gate.installed import version_of
from sway_gate.model_files import digest, find, hub
from sway_gate.model_files.config import model_config
from sway_gate.output import Progress, silent
from sway_gate.results import ModelFacts, Tier
from sway_gate.spec import WAIVERS, probes
from sway_gate.spec.schema import OF_FILES, ModelRef, ProbeSpec, Reserve, Section, Spec
from sway_gate.text import counted, named
from sway_gate.version import __version__

if TYPE_CHECKING:
    from sway_gate.engine.trace import Observer

_LIBRARIES = ("numpy", "torch", "transformers", "peft")
_MLX_LIBRARIES = ("mlx", "mlx-lm")
_EFFECT, _QUICK = 2, 4
"""The last `ProbeSpec.order` of effects, and of the quick tier."""
_QUANTIZATION_LIBRARIES = ("bitsandbytes",)


class Options(NamedTuple):
    """Options of a run; the threshold and the weights override the spec's."""

    threshold: float | None = None
    weights: Mapping[str, float] = MappingProxyType({})
    online: bool = False
    cache: bool = True
    observe: "Observer | None" = None
    """Receives the events of `sway_gate.engine.trace`; a cached verdict is then not used."""
    max_seconds: float | None = None
    """A run that surely takes longer on this CPU is refused."""
    allow_code: bool = False
    """Run the code that a spec names: a custom backend, code of models."""
    tier: Tier = "full"
    budget: int | None = None
    """Seconds; overrides the spec's. Probes that do not fit are left out."""


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
    """Digest of each embedding model that is on this machine."""
    states: Mapping[Path, digest.State] = MappingProxyType({})
    """State of the files of each folder before their digests were computed."""
    online: bool = False
    observe: "Observer | None" = None
    max_seconds: float | None = None
    tier: Tier = "full"
    deadline: float | None = None
    """The end of the time budget, of `time.monotonic`."""
    today: datetime.date = datetime.date.max
    """The day of the run in UTC, on which waivers expire."""


def with_data(spec: Spec) -> Spec:
    """`spec` with the sections of its data files.

    Raises SpecError with every mistake in them, and UsageError if they have no preferences, but
    training was meant to teach some.
    """
    loaded, fields = [], spec.data_map.fields() if spec.data_map else {}
    reserves, held_out_reserve = [spec.reserve], spec.held_out_reserve
    if spec.data:
        from sway_gate.training_data.load import load_sections

        loaded.append(load_sections(spec.data, fields, spec.defaults.seed))
    if spec.dlm_source:
        from sway_gate.training_data import dlm

        loaded.append(dlm.sections(spec.dlm_source, spec.models.ft.adapter or ""))
    sections, notes = {}, spec.notes
    for source in loaded:
        sections.update({section.id: section for section in source.sections})
        notes += source.notes
        reserves.append(source.reserve)
    sections.update({section.id: section for section in spec.sections})
    held_out = spec.held_out_sections
    if spec.held_out:
        from sway_gate.training_data.load import load_sections

        unseen = load_sections(spec.held_out, fields, spec.defaults.seed)
        held_out, notes = unseen.sections, notes + unseen.notes
        held_out_reserve = unseen.reserve
    _require_preferences(spec, tuple(sections.values()))
    return msgspec.structs.replace(
        spec,
        sections=tuple(sections.values()),
        held_out_sections=held_out,
        reserve=Reserve.joined(reserves),
        held_out_reserve=held_out_reserve,
        notes=notes,
    )


def _require_preferences(spec: Spec, sections: Sequence[Section]) -> None:
    """Raise UsageError if training was meant to teach preferences, and the data has none.

    A probe can bring its own.
    """
    kinds = {section.kind for section in sections}
    has_own = any(getattr(probe, "triples", ()) for probe in spec.suite)
    if spec.defaults.learn != "preference" or not kinds or "preference" in kinds or has_own:
        return
    pairs = sum(len(section.pairs) for section in sections)
    rows = counted(pairs, "prompt") + " with answers" if pairs else counted(len(sections), "text")
    raise UsageError(
        f"{spec.label}: learn: preference requires rows with prompt, chosen and rejected; "
        f"the data has {rows} and no preferences; give such rows, or leave out learn"
    )


def prepare(spec: Spec, options: Options, progress: Progress = silent) -> Job:
    """Load the data, find the models and compute their digests. Raises SwayError."""
    started = time.monotonic()
    if not options.allow_code:
        _refuse_code(spec)
    budget = options.budget or spec.defaults.time_budget()
    progress("reading the data", 0, 0)
    spec, tier = of_tier(with_data(spec), options.tier)
    progress("computing digests", 0, 0)
    folders = model_folders(spec, online=options.online)
    spec = with_dtype(spec, folders)
    states = _states(spec, folders)
    base, adapter = _model_facts(spec, folders)
    threshold, loading = options.threshold, load_options(spec)
    # Digests do not determine the results of remote code; an incomplete adapter has none.
    is_cacheable = (
        options.cache and bool(base.digest and adapter.digest) and not loading.trust_remote_code
    )
    notes = _notes(spec, folders)
    if is_cacheable and (refusal := cache.refusal()):
        is_cacheable, notes = False, (*notes, refusal)
    return Job(
        spec=msgspec.structs.replace(spec, notes=notes),
        folders=folders,
        base=base,
        adapter=adapter,
        threshold=spec.defaults.coverage_threshold if threshold is None else threshold,
        weights={**spec.defaults.weights(), **options.weights},
        versions=_versions(spec, folders),
        platform=f"{sys.platform} {platform.machine()} {accelerator(loading.device)}",
        cache=is_cacheable,
        embedders=_embedder_digests(spec),
        states=states,
        online=options.online,
        observe=options.observe,
        max_seconds=options.max_seconds,
        tier=tier,
        deadline=started + budget if budget else None,
        today=datetime.datetime.now(datetime.UTC).date(),
    )


def of_tier(spec: Spec, tier: Tier) -> tuple[Spec, Tier]:
    """The probes of `spec` that the tier judges, with a note on the others, and the tier.

    A suite without a quick effect is judged in full: probes of harm do not show that it works. So
    is one whose probes of harm are all late: an effect does not show that nothing is broken.
    """
    if tier == "full":
        return spec, tier
    judged = [probe for probe in spec.suite if not probe.is_probe or probe.order <= _QUICK]
    late = [probe for probe in spec.suite if probe not in judged and probe.enabled]
    if not late:
        return spec, tier
    orders = [probe.order for probe in judged if probe.is_probe and probe.enabled]
    has_effect = any(order <= _EFFECT for order in orders)
    has_harm = any(order > _EFFECT for order in orders)
    if not has_effect or (not has_harm and any(map(_is_of_harm, late))):
        return spec, "full"
    note = f"quick tier: not judged: {named([probe.name for probe in late])}; add --tier full"
    return msgspec.structs.replace(spec, suite=tuple(judged), notes=(*spec.notes, note)), tier


def _is_of_harm(probe: ProbeSpec) -> bool:
    from sway_gate.probes import module  # imports numpy

    return module(probe.kind).KIND.harm


def _refuse_code(spec: Spec) -> None:
    """Raise UsageError if a run of `spec` runs code that it names."""
    hint = "runs code; add --allow-code (in Python: allow_code=True) if you trust it"
    if spec.models.ft.kind == "custom":
        raise UsageError(f"{spec.label}: kind: custom {hint}")
    if load_options(spec).trust_remote_code:
        raise UsageError(f"{spec.label}: trust_remote_code: true {hint}")


def check_unchanged(job: Job) -> None:
    """Raise CannotDecide if the models' files changed since their digests were computed.

    A file that was written to less than two seconds before its digest can change without a new
    time, so its digest is computed again.
    """
    now = _states(job.spec, job.folders)
    changed = [
        folder
        for folder, before in job.states.items()
        if digest.is_changed(before, now.get(folder, {}))
    ]
    is_young = any(None in state.values() for state in job.states.values())
    if not changed and is_young:
        base, adapter = _model_facts(job.spec, job.folders)
        same = (base, adapter, _embedder_digests(job.spec)) == (
            job.base,
            job.adapter,
            job.embedders,
        )
        changed = [] if same else list(now)
    if changed:
        raise CannotDecide(
            f"{named([str(folder) for folder in changed])} changed while it was measured; "
            "run the gate again when nothing writes to it"
        )


def _states(spec: Spec, folders: Folders | None) -> dict[Path, digest.State]:
    states = {folder: digest.embedder_state(folder) for folder in _embedder_folders(spec).values()}
    if folders:
        states[folders.base] = digest.model_state(folders.base)
        state = digest.model_state if folders.is_full else digest.adapter_state
        states[folders.adapter] = state(folders.adapter)
    return states


def _embedder_folders(spec: Spec) -> dict[str, Path]:
    """Folder of each embedding model that is on this machine; a probe reports the others."""
    found = {}
    for model in suite_embedders(spec):
        with suppress(SwayError):
            revision = probes.PINNED.get(model)
            found[model] = hub.local(model, revision, online=False, what="embedding model")
    return found


def _embedder_digests(spec: Spec) -> dict[str, str]:
    folders = _embedder_folders(spec)
    return {model: digest.embedder_digest(folder) for model, folder in folders.items()}


def _notes(spec: Spec, folders: Folders | None) -> tuple[str, ...]:
    """The spec's notes, and a warning if a checkout can have written the base of a hub id."""
    base = spec.models.base.base
    if spec.models.is_api and not (spec.models.base.revision and spec.models.ft.revision):
        return (
            *spec.notes,
            "not cached: state a revision of both models to reuse a server's answers",
        )
    tree = cache.work_tree(folders.base) if folders and not os.path.isdir(base) else None
    if tree is None:
        return spec.notes
    warning = f"warning: {base} was read from a hub cache in the git work tree {tree}"
    return (
        *spec.notes,
        f"{warning}: a checkout can replace it; set HF_HUB_CACHE to another folder",
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
    if spec.models.is_api:
        tokenizer = tokenizer_folder(spec)
        return _served_facts(base, tokenizer), _served_facts(ft, tokenizer)
    if folders is None:
        adapter = ft.adapter or ft.base
        return ModelFacts(path=base.base, digest=""), ModelFacts(path=adapter, digest="")
    return (
        ModelFacts(
            path=base.base,
            digest=digest.model_digest(folders.base),
            revision=hub.commit(folders.base),
        ),
        ModelFacts(
            path=ft.adapter or ft.base,
            digest=_digest(folders),
            revision=hub.commit(folders.adapter),
            is_full=folders.is_full,
        ),
    )


def _served_facts(ref: ModelRef, tokenizer: Path | None) -> ModelFacts:
    """A model on a server. Its digest is of the spec's fields, and "" without a revision."""
    if ref.revision is None:
        return ModelFacts(path=ref.base, digest="")
    of_tokenizer = digest.tokenizer_digest(tokenizer) if tokenizer else ""
    stated = repr((ref.endpoint, ref.base, ref.revision, of_tokenizer))
    of_all = hashlib.sha256(stated.encode()).hexdigest()
    return ModelFacts(path=ref.base, digest=of_all, revision=ref.revision)


def load_options(spec: Spec) -> Loading:
    """Settings of the one load for both models: `ft`'s, or `base`'s where `ft` sets none."""
    base, ft = spec.models.base, spec.models.ft
    return Loading(
        base.dtype if ft.dtype == "auto" else ft.dtype,
        base.device if ft.device == "auto" else ft.device,
        base.trust_remote_code or ft.trust_remote_code,
        ft.quantization or base.quantization,
    )


def with_dtype(spec: Spec, folders: Folders | None) -> Spec:
    """`spec` with bf16 instead of dtype auto if that is what the run computes in."""
    loading = load_options(spec)
    if folders is None or loading.dtype != "auto":
        return spec
    if not is_bfloat16(spec, accelerator(loading.device), *folders[:2]):
        return spec
    ft = msgspec.structs.replace(spec.models.ft, dtype="bf16")
    return msgspec.structs.replace(spec, models=msgspec.structs.replace(spec.models, ft=ft))


def model_folders(spec: Spec, *, online: bool = False) -> Folders | None:
    """Find the base and the adapter; None for backends without files. Raises SwayError."""
    base, ft = spec.models.base, spec.models.ft
    if ft.kind not in OF_FILES:
        return None
    if spec.models.is_full:
        return Folders(
            find.base(base.base, base.revision, None, online=online),
            hub.local(ft.base, ft.revision, online=online, what="fine-tuned model"),
            is_full=True,
        )
    revision, for_mlx = base.revision or ft.revision, ft.kind == "mlx"
    try:
        adapter = find.adapter(ft.adapter or "", ft.adapter_revision, online=online)
    except CannotDecide:
        if not online:  # a missing base is reported first
            find.base(base.base, revision, None, online=False, for_mlx=for_mlx)
        raise
    folder = find.base(base.base, revision, adapter, online=online, for_mlx=for_mlx)
    return Folders(folder, adapter)


def tokenizer_folder(spec: Spec, *, online: bool = False) -> Path | None:
    """The tokenizer of models on a server; None if the spec names none. Raises SwayError."""
    name = spec.models.base.tokenizer or spec.models.ft.tokenizer
    return hub.local(name, None, online=online, what="tokenizer") if name else None


class Inputs(NamedTuple):
    """The files that a run reads, data folders included, and the folders of its models."""

    files: list[str]
    models: list[str]


def inputs(spec: Spec) -> Inputs:
    """The inputs of a run of `spec`, as far as its models are on this machine."""
    files = [*spec.data, *spec.held_out, *([spec.dlm_source] if spec.dlm_source else [])]
    files.append(os.path.join(spec.folder, WAIVERS))
    try:
        found = model_folders(spec)
    except SwayError:
        found = None
    own = (found.base, found.adapter) if found else ()
    folders = [*own, *_embedder_folders(spec).values()]
    for folder in folders:
        files += digest.model_files(folder)
    if entry_point := spec.models.ft.entry_point:
        files.append(entry_point.partition(":")[0].replace(".", os.sep) + ".py")
    return Inputs(files, [str(folder) for folder in folders])


def _digest(folders: Folders) -> str:
    """Digest of the adapter or the fine-tuned model; "" if a file is missing.

    The static check reports missing files.
    """
    of_files = digest.model_digest if folders.is_full else digest.adapter_digest
    try:
        return of_files(folders.adapter)
    except Exception:
        return ""


def _versions(spec: Spec, folders: Folders | None) -> dict[str, str]:
    found = {"sway-gate": __version__, "python": platform.python_version()}
    libraries = [*_LIBRARIES, *_libraries_of(spec, folders)]
    for probe in spec.suite:
        if probe.enabled:
            libraries += probe.libraries
    for library in dict.fromkeys(libraries):
        found[library] = version_of(library) or "absent"
    return found


def _libraries_of(spec: Spec, folders: Folders | None) -> tuple[str, ...]:
    """The libraries that this base needs in addition to `_LIBRARIES`."""
    if spec.models.ft.kind == "mlx":
        return _MLX_LIBRARIES
    is_stored = folders is not None and "quantization_config" in model_config(folders.base)
    return _QUANTIZATION_LIBRARIES if is_stored or load_options(spec).quantization else ()


def accelerator(device: str) -> str:
    """The device class, found without torch: `device`, or cuda if a CUDA device is visible."""
    if device != "auto":
        return device
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    return "cuda" if visible not in ("", "-1") and os.path.exists("/dev/nvidiactl") else "auto"
