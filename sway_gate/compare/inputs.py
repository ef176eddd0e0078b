"""Whether two results have the same inputs: base, settings and texts, compared by their digests."""

import hashlib
import json
from collections.abc import Iterator, Sequence

import msgspec

from sway_gate.results import GateResult, ModelFacts
from sway_gate.spec.schema import ProbeSpec, Spec


def is_same_base(a: ModelFacts, b: ModelFacts) -> bool:
    """Whether both are the same model: by digest if both are known, otherwise by path."""
    return a.digest == b.digest if a.digest and b.digest else a.path == b.path


def probes_with_same_inputs(old: GateResult, new: GateResult) -> set[str]:
    """Names of the probes that have the same items and the same base in both results."""
    is_same_text = old.shared_inputs == new.shared_inputs and old.seed == new.seed
    if not (is_same_base(old.base, new.base) and is_same_text):
        return set()
    return {
        name for name, digest in new.probe_inputs.items() if old.probe_inputs.get(name) == digest
    }


def input_warnings(old: GateResult, new: GateResult) -> Iterator[str]:
    """Differences between the two results other than the adapter, the most important first."""
    if not is_same_base(old.base, new.base):
        yield (
            f"another base ({old.base.path}, now {new.base.path}): "
            "each value is a difference from its own base"
        )
    if old.shared_inputs and new.shared_inputs and old.shared_inputs != new.shared_inputs:
        yield "other training text, control prose or format of prompts: the items are different"
    old_inputs = old.probe_inputs
    changed = [n for n, digest in new.probe_inputs.items() if old_inputs.get(n, digest) != digest]
    if changed:
        yield f"other settings of {', '.join(changed)}"
    for what, before, after in _facts(old, new):
        if before != after:
            yield f"another {what}: {before}, now {after}"
    versions = [
        f"{name} {version}, now {new.versions[name]}"
        for name, version in old.versions.items()
        if new.versions.get(name, version) != version
    ]
    if versions:
        yield f"other versions: {', '.join(versions)}"


def _facts(old: GateResult, new: GateResult) -> Iterator[tuple[str, str, str]]:
    yield "threshold", f"{old.threshold:g}", f"{new.threshold:g}"
    yield "set of category weights", _weights(old), _weights(new)
    yield "set of null adapters", _nulls(old), _nulls(new)
    yield "seed", str(old.seed), str(new.seed)
    if old.device and new.device:
        yield "dtype or device", f"{old.dtype} on {old.device}", f"{new.dtype} on {new.device}"


def _weights(result: GateResult) -> str:
    categories = sorted(result.categories.items())
    return ", ".join(f"{name} {category.weight:g}" for name, category in categories)


def _nulls(result: GateResult) -> str:
    nulls = result.nulls
    return f"{nulls.runs} {nulls.null} from seed {nulls.seed_base}" if nulls else "none"


# A probe's name, position and weight do not affect its measurements.
_OUTSIDE = ("name", "line", "weight", "enabled")


def probe_inputs(suite: Sequence[ProbeSpec]) -> dict[str, str]:
    """Digest of the kind and fields of each probe except `null_adapter`, by the probe's name."""
    digests = {}
    for probe in suite:
        if probe.is_probe:
            fields = msgspec.to_builtins(probe)
            own = {key: value for key, value in fields.items() if key not in _OUTSIDE}
            digests[probe.name] = _digest(own)
    return digests


def shared_inputs(spec: Spec, prompt_format: str = "") -> str:
    """Digest of the shared inputs: sections, held-out data, control prose, format of prompts.

    prompt_format: the format that the answers chose, if the form of the prompts does not show it.
    """
    defaults = spec.defaults
    prompt_format = prompt_format or defaults.prompt_format
    shared: list[object] = [spec.sections, spec.control, defaults.chat_template]
    if spec.held_out_sections or (prompt_format, defaults.learn) != ("auto", "auto"):
        shared += [spec.held_out_sections, prompt_format, defaults.learn]
    if spec.reserve.samples or spec.held_out_reserve.samples:
        shared += [spec.reserve.samples, spec.held_out_reserve.samples]
    return _digest(msgspec.to_builtins(shared))


def _digest(value: object) -> str:
    """First 16 hexadecimal digits of the sha256: enough to avoid collisions between suites."""
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()[:16]
