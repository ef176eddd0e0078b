"""From a spec to a verdict: resolve what it names, look whether the verdict is known, else evaluate and keep it.

This module stays light: a verdict that is known costs neither numpy nor torch.
"""

import os
import platform
import sys
from collections.abc import Mapping
from importlib import metadata
from pathlib import Path
from typing import Any, NamedTuple

import msgspec

from sway_gate import __version__, cache, digest, hub
from sway_gate.errors import UsageError
from sway_gate.progress import Progress, silent
from sway_gate.result import GateResult, ModelFacts, Verdict
from sway_gate.spec import SCORE_WEIGHTS, DeltaKL, ModelRef, Models, Spec

_LIBRARIES = ("numpy", "torch", "transformers", "peft")
_CHECK_PROMPTS = 4
_CHECK_MINIMUM_NATS = 0.01
_MAX_PROMPTS_BYTES = 2**20


class Options(NamedTuple):
    """What the command line adds to a spec; None leaves the spec's own value."""

    threshold: float | None = None
    weights: Mapping[str, float] | None = None
    online: bool = False
    cache: bool = True


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


def run(spec: Spec, options: Options = Options(), progress: Progress = silent) -> GateResult:
    """The verdict on a spec. Raises SwayError, each with its exit code, where files or models are not to be had."""
    job = prepare(spec, options)
    key = cache.verdict_key(msgspec.to_builtins(job._asdict())) if job.cache else ""
    if job.cache and (stored := cache.load_verdict(key)):
        return msgspec.structs.replace(msgspec.json.decode(stored, type=GateResult), cached=True)
    from sway_gate.evaluate import evaluate

    result = evaluate(job, progress)
    if job.cache and not any(probe.verdict is Verdict.ERROR for probe in result.probes):
        cache.store_verdict(key, msgspec.json.encode(result))
    return result


def prepare(spec: Spec, options: Options) -> Job:
    """Finds the models, offline unless asked otherwise, and takes their digests."""
    base, ft = spec.models.base, spec.models.ft
    base_folder = hub.local(base.base, base.revision or ft.revision, online=options.online, what="base model")
    adapter_folder = hub.local(ft.adapter or "", ft.adapter_revision, online=options.online, what="adapter")
    commit = hub.commit(base_folder)
    return Job(
        spec=spec,
        base=ModelFacts(path=base.base, digest=digest.model_identity(base_folder, commit), revision=commit),
        adapter=ModelFacts(
            path=ft.adapter or "", digest=_adapter_digest(adapter_folder), revision=hub.commit(adapter_folder)
        ),
        threshold=spec.defaults.coverage_threshold if options.threshold is None else options.threshold,
        weights={**_weights(spec), **(options.weights or {})},
        versions=_versions(),
        platform=f"{sys.platform} {platform.machine()} {_accelerator(loading(spec).device)}",
        cache=options.cache and not loading(spec).trust_remote_code,
    )


def loading(spec: Spec) -> Loading:
    """What base and fine-tuned model say of the one load that serves both; what `ft` leaves to itself, `base` says."""
    base, ft = spec.models.base, spec.models.ft
    return Loading(
        base.dtype if ft.dtype == "auto" else ft.dtype,
        base.device if ft.device == "auto" else ft.device,
        base.trust_remote_code or ft.trust_remote_code,
    )


def folders(job: Job) -> tuple[Path, Path]:
    """Where base and adapter lie on this machine."""
    base, ft = job.spec.models.base, job.spec.models.ft
    return (
        hub.local(base.base, base.revision or ft.revision, online=False, what="base model"),
        hub.local(ft.adapter or "", ft.adapter_revision, online=False, what="adapter"),
    )


def prefetch(spec: Spec) -> list[str]:
    """Downloads what the spec names at its revisions; a line for each, with where it is and its commit."""
    base, ft = spec.models.base, spec.models.ft
    wanted = (
        ("base model", base.base, base.revision or ft.revision),
        ("adapter", ft.adapter or "", ft.adapter_revision),
    )
    lines = []
    for what, ref, revision in wanted:
        folder = hub.local(ref, revision, online=True, what=what)
        lines.append(f"{what} {ref}: {folder}" + (f" ({found})" if (found := hub.commit(folder)) else ""))
    return lines


def check_spec(adapter: str, base: str | None, prompts: str | None) -> Spec:
    """The suite of `sway check`: is this adapter more than noise, on neutral prompts or on those of a file?"""
    from sway_gate import data

    adapter = (
        os.path.abspath(os.path.expanduser(adapter))
        if not hub.is_hub_id(adapter) or os.path.isdir(adapter)
        else adapter
    )
    if base is None:
        base = _named_base(adapter)
    elif os.path.isdir(os.path.expanduser(base)):
        base = os.path.abspath(os.path.expanduser(base))
    texts = _read_prompts(prompts) if prompts else data.prompts()[:_CHECK_PROMPTS]
    probe = DeltaKL(name="check", prompts=texts, assert_mean_gte=_CHECK_MINIMUM_NATS)
    models = Models(base=ModelRef(base=base), ft=ModelRef(base=base, adapter=adapter))
    return Spec(models=models, suite=(probe,), label="sway check", folder=os.getcwd())


def check_headline(result: GateResult) -> str:
    """One line: how far above noise the adapter stands."""
    broken = [f.message for f in result.findings if f.level == "verdict"]
    if not result.probes:
        return f"adapter never learned: {broken[0]}" if broken else "adapter could not be judged"
    probe = result.probes[0]
    if probe.z is None:
        return f"adapter could not be judged: {probe.message}"
    if result.verdict == "pass":
        return f"adapter is {probe.z:+.1f}σ above noise (n={probe.n_null} nulls)"
    if not probe.effect_ok:
        return f"adapter is indistinguishable from a null adapter: its change is too small to matter ({probe.message})"
    return f"adapter is indistinguishable from a null adapter ({probe.z:+.1f}σ, n={probe.n_null} nulls)"


def plan(spec: Spec) -> str:
    """What a run would measure, in words, without any model."""
    from sway_gate.evaluate import outline

    return outline(spec)


def _named_base(adapter: str) -> str:
    """The base that the adapter's own configuration names, beside the adapter where it is a relative path there."""
    config = hub.local(adapter, None, online=False, what="adapter") / "adapter_config.json"
    try:
        with open(config, "rb") as file:
            named = msgspec.json.decode(file.read(2**20)).get("base_model_name_or_path")
    except (OSError, msgspec.DecodeError, AttributeError, RecursionError):
        raise UsageError(f"{config} cannot be read, so the base is unknown; give it with --base") from None
    if not isinstance(named, str) or not named:
        raise UsageError(f"{config} names no base model; give it with --base")
    if not os.path.isdir(named) and not hub.is_hub_id(named):
        raise UsageError(f"{config} names the base {named!r}, which is not here; give it with --base")
    return named


def _read_prompts(path: str) -> tuple[str, ...]:
    try:
        with open(path, "rb") as file:
            text = file.read(_MAX_PROMPTS_BYTES + 1)
        if len(text) > _MAX_PROMPTS_BYTES:
            raise UsageError(f"{path}: larger than 1 MiB; give one prompt a line, some dozens at most")
        prompts = tuple(line.strip() for line in text.decode("utf-8-sig").splitlines() if line.strip())
    except OSError as error:
        raise UsageError(f"{path}: cannot be read: {error.strerror or error}") from None
    except UnicodeDecodeError:
        raise UsageError(f"{path}: not UTF-8 text; save the file as UTF-8") from None
    if not prompts:
        raise UsageError(f"{path}: holds no prompt; give one a line")
    return tuple(dict.fromkeys(prompts))


def _weights(spec: Spec) -> dict[str, float]:
    given: Any = spec.defaults.score_weights or SCORE_WEIGHTS
    return dict(given)


def _adapter_digest(folder: Path) -> str:
    """Of the files that count; "" where one is missing, which the static check then names."""
    try:
        return digest.adapter_digest(folder)
    except Exception:
        return ""


def _versions() -> dict[str, str]:
    found = {"sway-gate": __version__, "python": platform.python_version()}
    for library in _LIBRARIES:
        try:
            found[library] = metadata.version(library)
        except metadata.PackageNotFoundError:
            found[library] = "absent"
    return found


def _accelerator(device: str) -> str:
    """The device class without asking torch: the one named, or whether a CUDA device is visible."""
    if device != "auto":
        return device
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    return "cuda" if visible not in ("", "-1") and os.path.exists("/dev/nvidiactl") else "auto"
