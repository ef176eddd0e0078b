"""What two results were measured on: whether base, settings and texts agree, by their digests."""

import hashlib
import json
from collections.abc import Iterator, Mapping

import msgspec

from sway_gate.results import GateResult, ModelFacts
from sway_gate.spec.schema import Spec


def is_same_base(a: ModelFacts, b: ModelFacts) -> bool:
    """By content where that is known of both, else by name."""
    return a.digest == b.digest if a.digest and b.digest else a.path == b.path


def probes_with_same_inputs(old: GateResult, new: GateResult) -> set[str]:
    """Names of the probes that measured the same items of the same base in both."""
    if not (is_same_base(old.base, new.base) and old.texts == new.texts and old.seed == new.seed):
        return set()
    return {name for name, settings in new.asked.items() if old.asked.get(name) == settings}


def input_warnings(old: GateResult, new: GateResult) -> Iterator[str]:
    """What else than the adapter differs, the gravest first."""
    if not is_same_base(old.base, new.base):
        yield f"another base ({old.base.path}, now {new.base.path}): every value is a difference from its own base"
    if old.texts and new.texts and old.texts != new.texts:
        yield "other training text, control prose or chat template: no item is the same"
    asked_otherwise = [
        name for name, settings in new.asked.items() if old.asked.get(name, settings) != settings
    ]
    if asked_otherwise:
        yield f"other settings of {', '.join(asked_otherwise)}"
    for what, before, after in _facts(old, new):
        if before != after:
            yield f"another {what}: {before}, now {after}"
    yield from _version_warnings(old.versions, new.versions)


def _facts(old: GateResult, new: GateResult) -> Iterator[tuple[str, str, str]]:
    def weights(result: GateResult) -> str:
        return ", ".join(
            f"{name} {category.weight:g}" for name, category in sorted(result.categories.items())
        )

    def nulls(result: GateResult) -> str:
        n = result.nulls
        return f"{n.runs} {n.null} from seed {n.seed_base}" if n else "none"

    yield "threshold", f"{old.threshold:g}", f"{new.threshold:g}"
    yield "weighting of categories", weights(old), weights(new)
    yield "set of null adapters", nulls(old), nulls(new)
    yield "seed", str(old.seed), str(new.seed)
    if old.device and new.device:
        yield "way to compute", f"{old.dtype} on {old.device}", f"{new.dtype} on {new.device}"


def _version_warnings(old: Mapping[str, str], new: Mapping[str, str]) -> Iterator[str]:
    changed = [name for name in old if name in new and old[name] != new[name]]
    if changed:
        yield "other versions: " + ", ".join(
            f"{name} {old[name]}, now {new[name]}" for name in changed
        )


# What a probe is called, where it stands and how much it counts change nothing of what it measures.
_OUTSIDE = ("name", "line", "weight", "enabled")


def probe_inputs(spec: Spec) -> dict[str, str]:
    """By name of the probe, of its kind and its own fields; null adapters are told elsewhere."""
    return {
        probe.name: _digest(
            {k: v for k, v in msgspec.to_builtins(probe).items() if k not in _OUTSIDE}
        )
        for probe in spec.suite
        if probe.is_probe
    }


def shared_inputs(spec: Spec) -> str:
    """Of what all probes share: sections, control prose, and which prompts go through a template."""
    return _digest(msgspec.to_builtins([spec.sections, spec.control, spec.defaults.chat_template]))


def _digest(value: object) -> str:
    """16 hexadecimal digits: of one user's suites, no two meet."""
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()[:16]
