"""Cache keys of verdicts and of readings.

Files are identified by their digests, so that another checkout of the same files finds the same
entries. Fields that are not listed here do not change a verdict. This module loads neither numpy
nor torch.
"""

import os
from typing import TYPE_CHECKING

import msgspec

from sway_gate import cache
from sway_gate.gate.resolve import Job, Loading, load_options
from sway_gate.installed import PACKAGE, code_digest
from sway_gate.model_files import digest
from sway_gate.model_files.config import STARTED, prints_date
from sway_gate.model_files.hub import ADAPTER_WEIGHTS, MLX_WEIGHTS
from sway_gate.model_files.shapes import shapes_of
from sway_gate.spec.probes import embedding_models
from sway_gate.spec.schema import ProbeSpec, Reserve, Section

if TYPE_CHECKING:
    from sway_gate.backends.null_adapters import NullSettings


class VerdictIdentity(msgspec.Struct, frozen=True, kw_only=True):
    """Everything that a verdict depends on, except the paths that `sway_gate.gate.run` adds."""

    base: str
    adapter: str
    """Digests of the files."""
    base_id: str
    """The base's hub id, which the static check compares with the adapter's config.

    "" for a folder.
    """
    loading: Loading
    differential: bool
    chat_template: str
    prompt_format: str
    learn: str
    seed: int
    suite: tuple[ProbeSpec, ...]
    """Each embedding model that is on this machine is replaced by its digest."""
    sections: tuple[Section, ...]
    control: tuple[str, ...]
    held_out: tuple[Section, ...]
    reserves: tuple[Reserve, Reserve]
    threshold: float
    weights: dict[str, float]
    waivers: tuple[tuple[str, str, str, str, bool], ...]
    """The fields of each waiver, and whether it has expired."""
    versions: dict[str, str]
    code: str
    """Digest of this package's modules: a checkout changes without its version."""
    platform: str


def verdict_key(job: Job) -> str:
    """The cache key of the job's verdict."""
    return cache.verdict_key(msgspec.structs.asdict(_identity(job)))


def content_key(job: Job, loading: Loading) -> str:
    """A key of everything that the verdict depends on except the machine and its libraries.

    `loading`: the settings that the spec gives, before the machine chooses a dtype.
    """
    own = {"sway-gate": job.versions["sway-gate"]}
    identity = msgspec.structs.replace(
        _identity(job), loading=loading, versions=own, code="", platform=""
    )
    return cache.verdict_key(msgspec.structs.asdict(identity))


def _identity(job: Job) -> VerdictIdentity:
    spec = job.spec
    base_id = spec.models.base.base
    return VerdictIdentity(
        base=job.base.digest,
        adapter=job.adapter.digest,
        base_id="" if os.path.isdir(base_id) else base_id,
        loading=load_options(spec),
        differential=spec.defaults.differential,
        chat_template=spec.defaults.chat_template,
        prompt_format=spec.defaults.prompt_format,
        learn=spec.defaults.learn,
        seed=spec.defaults.seed,
        suite=suite_by_digest(job),
        sections=spec.sections,
        control=spec.control,
        held_out=spec.held_out_sections,
        reserves=(spec.reserve, spec.held_out_reserve),
        threshold=job.threshold,
        weights=job.weights,
        waivers=tuple(
            (w.target, w.reason, w.by, w.expires.isoformat(), w.expires < job.today)
            for w in spec.waivers
        ),
        versions=job.versions,
        code=code_digest(),
        platform=job.platform,
    )


def suite_by_digest(job: Job) -> tuple[ProbeSpec, ...]:
    """The suite, independent of the folders in which embedding models are."""
    return tuple(_by_digest(probe, job.embedders) for probe in job.spec.suite)


def _by_digest(probe: ProbeSpec, embedders: dict[str, str]) -> ProbeSpec:
    """The probe with each embedding model that is on this machine replaced by its digest."""
    models = embedding_models(probe)
    known = {field: embedders[model] for field, model in models.items() if model in embedders}
    return msgspec.structs.replace(probe, **known)


def readings_key(job: Job, nulls: "NullSettings") -> str:
    """The cache key of readings: everything that they depend on except view and request.

    It does not contain the number of null adapters, because null i is the same for any number.
    """
    null = [nulls.kind, nulls.init_scale, nulls.seed_base]
    return cache.context_key({**_measured_on(job), "adapter": job.adapter.digest, "nulls": null})


def base_readings_key(job: Job) -> str | None:
    """The cache key of the base's readings, which serve all adapters of the base.

    None if they can depend on what was trained: a full model, a second model without an adapter's
    views, or tensors other than LoRA's, which can resize the base's embeddings.
    """
    if job.folders is None or job.folders.is_full or not job.spec.defaults.differential:
        return None
    adapter = job.folders.adapter
    names = [name for file in (ADAPTER_WEIGHTS, MLX_WEIGHTS) for name in shapes_of(adapter / file)]
    if not names or not all("lora_" in name for name in names):
        return None
    tokenizer = digest.tokenizer_digest(adapter)
    return cache.context_key({**_measured_on(job), "tokenizer": tokenizer})


def _measured_on(job: Job) -> dict[str, object]:
    """What all readings depend on: the base, how it is loaded, and the machine."""
    folders = job.folders[:2] if job.folders else ()
    return {
        "date": STARTED.date().isoformat() if any(map(prints_date, folders)) else "",
        "base": job.base.digest,
        "seed": job.spec.defaults.seed,
        "dtype": load_options(job.spec).dtype,
        "quantization": load_options(job.spec).quantization,
        "differential": job.spec.defaults.differential,
        "platform": job.platform,
        "versions": job.versions,
        "code": code_digest(PACKAGE / "backends"),
    }
