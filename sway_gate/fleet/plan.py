"""Plans a fleet: the gates, their keys, and what a worker needs for each of them."""

import os
from typing import Final, NamedTuple

import msgspec

from sway_gate import cache
from sway_gate.backends.processor import is_cpu
from sway_gate.engine import cost
from sway_gate.engine.plan import null_plan
from sway_gate.errors import UsageError
from sway_gate.gate.identity import content_key, verdict_key
from sway_gate.gate.resolve import Job, Loading, Options, load_options, prepare
from sway_gate.gate.run import check_layout
from sway_gate.results import Tier
from sway_gate.spec.schema import Spec

_UNKNOWN_MODEL: Final = 3.0
"""Memory per byte of a base whose shapes are not in its files, such as a quantized one."""


class Gate(NamedTuple):
    """A spec, and the adapter that it judges, as the user wrote them."""

    spec: str
    adapter: str
    """"" for the spec's own."""

    @property
    def label(self) -> str:
        return f"{self.spec} {self.adapter}".rstrip()


class Task(msgspec.Struct, frozen=True, kw_only=True):
    """What a worker receives. Paths are absolute, and name the same files on every machine."""

    spec: str
    adapter: str
    content: str
    """The `content_key` of the files that the fleet was planned for."""
    tier: Tier
    budget: int | None
    uses_cache: bool


class Need(NamedTuple):
    """What a worker occupies."""

    memory_bytes: int
    """0 if it uses a GPU for certain: then the GPU's memory counts."""
    device: str
    """The spec's: cpu, auto, cuda, …"""


class Planned(NamedTuple):
    """A gate that can run."""

    gate: Gate
    task: Task
    key: str
    """The key of its stored result; "" if results are not stored."""
    base: str
    """Gates with the same one share a loaded base."""
    base_digest: str
    adapter_digest: str
    need: Need
    limit: int | None
    """The time limit in seconds."""


def plan(gate: Gate, spec: Spec, options: Options) -> Planned:
    """Compute the digests of a gate's files. Raises SwayError if the gate cannot run in a fleet."""
    job = prepare(spec, options)
    loading = load_options(spec)
    _check(job, loading)
    task = Task(
        spec=os.path.abspath(gate.spec),
        adapter=absolute(gate.adapter),
        content=content_key(job, loading),
        tier=options.tier,
        budget=options.budget,
        uses_cache=options.cache,
    )
    paths = (task.spec, job.base.path, job.adapter.path)
    key = {"fleet": 1, "verdict": verdict_key(job), "paths": paths, "tier": job.tier}
    return Planned(
        gate,
        task,
        cache.verdict_key(key) if job.cache else "",
        f"{job.base.digest} {tuple(loading)}",
        job.base.digest,
        job.adapter.digest,
        Need(_memory(job), loading.device),
        spec.defaults.time_limit(),
    )


def absolute(adapter: str) -> str:
    """The absolute path of an adapter's folder; a hub id remains."""
    return os.path.abspath(adapter) if adapter and os.path.exists(adapter) else adapter


def _check(job: Job, loading: Loading) -> None:
    """Raise SwayError if digests do not determine the verdict, or the files are broken."""
    label, kind = job.spec.label, job.spec.models.ft.kind
    if job.folders is None:
        raise UsageError(f"{label}: kind: {kind} has no files to compare; use `sway gate`")
    if loading.trust_remote_code:
        raise UsageError(f"{label}: trust_remote_code: true runs code; use `sway gate`")
    check_layout(job)
    if not job.adapter.digest:
        raise UsageError(f"{job.adapter.path}: its files cannot be read; check their permissions")


def _memory(job: Job) -> int:
    """Bytes that a worker on a CPU needs; 0 on a GPU."""
    loading = load_options(job.spec)
    if job.folders is None or not is_cpu(loading.device):
        return 0
    if model := cost.of_files(*job.folders[:2]):
        runs = null_plan(job.spec).settings.runs
        return int(cost.memory_with(model, loading.dtype, runs))
    sizes = (path.stat().st_size for path in job.folders.base.glob("*.safetensors"))
    return int(_UNKNOWN_MODEL * sum(sizes))
