"""The suite of `sway check` for an adapter without a spec, and its verdict in one line."""

import os
from collections.abc import Sequence
from typing import Final

import msgspec

from sway_gate.errors import UsageError
from sway_gate.gate.resolve import with_data
from sway_gate.model_files import hub
from sway_gate.results import GateResult, Verdict
from sway_gate.spec.probes import DeltaKL, Leakage, PreferenceFlip, SectionInternalization
from sway_gate.spec.schema import ModelRef, Models, ProbeSpec, Section, Spec
from sway_gate.training_data import packaged

_PROMPTS: Final = 4
_MINIMUM_NATS: Final = 0.01
_OPENING_WORDS: Final = 6
"""Length of a prompt from the start of a text: long enough to set a subject."""
_MAX_PROMPTS_BYTES: Final = 2**20


def check_suite(
    adapter: str,
    base: str | None,
    prompts: str | Sequence[str] | None,
    data: Sequence[str] = (),
    online: bool = False,
) -> Spec:
    """The suite of `sway check`: does the adapter change the output significantly?

    Uses the given prompts (a string is the name of a file with one prompt per line). Without them,
    it uses prompts from the data, or neutral ones if there is no data. With training data, it also
    tests whether the data was learned, whether preferences changed, and whether text can be
    extracted.
    """
    models = named_models(adapter, base, online)
    paths = tuple(os.path.abspath(os.path.expanduser(path)) for path in data)
    spec = with_data(
        Spec(models=models, suite=(), data=paths, label="sway check", folder=os.getcwd())
    )
    given = _read_prompts(prompts) if isinstance(prompts, str) else _texts(prompts or ())
    texts = given or _openings(spec.sections) or packaged.prompts()[:_PROMPTS]
    moved = DeltaKL(name="check", prompts=texts, assert_mean_gte=_MINIMUM_NATS)
    # The data is loaded: `data` is removed so that it is not loaded again.
    return msgspec.structs.replace(spec, suite=(moved, *_attribution(spec.sections)), data=())


def named_models(adapter: str, base: str | None, online: bool = False) -> Models:
    """The models that a command names, with absolute paths for folders.

    Without `base`, the base model that the adapter's configuration names. With `online`, a missing
    adapter is downloaded. Raises UsageError if the configuration does not name a base model.
    """
    adapter = _local_or_id(adapter)
    base = _named_base(adapter, online) if base is None else _local_or_id(base)
    return Models(base=ModelRef(base=base), ft=ModelRef(base=base, adapter=adapter))


def check_headline(result: GateResult) -> str:
    """One line: the z-score of the change, and the probes that did not pass."""
    broken = [f.message for f in result.findings if f.level == "verdict"]
    if not result.probes:
        return f"adapter does not work: {broken[0]}" if broken else "adapter could not be judged"
    moved, *others = result.probes
    if moved.z is None:
        return f"adapter could not be judged: {moved.message}"
    if moved.verdict is Verdict.FAIL and not moved.effect_ok:
        reason = f"its change is too small to matter ({moved.message})"
        return f"adapter is indistinguishable from a null adapter: {reason}"
    place = f"({moved.z:+.1f}σ, n={moved.n_null} nulls)"
    if moved.verdict is Verdict.FAIL:
        return f"adapter is indistinguishable from a null adapter {place}"
    above = f"adapter is {moved.z:+.1f}σ above noise (n={moved.n_null} nulls)"
    against = [probe.name for probe in others if probe.verdict in (Verdict.FAIL, Verdict.ERROR)]
    return f"{above}, but did not pass: {', '.join(against)}" if against else above


def _attribution(sections: Sequence[Section]) -> tuple[ProbeSpec, ...]:
    """The probes that these sections can support."""
    prefers = PreferenceFlip(name="prefers")
    triples = sum(len(section.pairs) for section in sections if section.kind == "preference")
    found: list[ProbeSpec] = []
    if sections:
        found.append(SectionInternalization(name="learned"))
    if triples >= prefers.min_triples_for_decision:
        found.append(prefers)
    if any(section.kind == "prose" for section in sections):
        found.append(Leakage(name="keeps_to_itself"))
    return tuple(found)


def _openings(sections: Sequence[Section]) -> tuple[str, ...]:
    """Prompts from a few sections, evenly spread: questions, or the first words of prose."""
    stride = max(1, len(sections) // _PROMPTS)
    return tuple(dict.fromkeys(_opening(section) for section in sections[::stride][:_PROMPTS]))


def _opening(section: Section) -> str:
    if section.pairs:
        return section.pairs[0].prompt
    return " ".join(section.content.split()[:_OPENING_WORDS])


def _local_or_id(ref: str) -> str:
    """An absolute path; a hub id that is not a folder remains unchanged."""
    path = os.path.expanduser(ref)
    return os.path.abspath(path) if os.path.isdir(path) or not hub.is_hub_id(ref) else ref


def _named_base(adapter: str, online: bool) -> str:
    """The base model that the adapter's configuration names. Raises UsageError if there is none."""
    config = hub.local(adapter, None, online=online, what="adapter") / hub.ADAPTER_CONFIG
    try:
        with open(config, "rb") as file:
            named = msgspec.json.decode(file.read(2**20)).get("base_model_name_or_path")
    except (OSError, msgspec.DecodeError, AttributeError, RecursionError):
        message = "cannot be read, so the base is unknown; give it with --base"
        raise UsageError(f"{config} {message}") from None
    if not isinstance(named, str) or not named:
        raise UsageError(f"{config} names no base model; give it with --base")
    if not os.path.isdir(named) and not hub.is_hub_id(named):
        message = (
            f"names the base {named!r}, which is neither a folder nor a hub id; give it with --base"
        )
        raise UsageError(f"{config} {message}")
    return named


def _texts(prompts: Sequence[str]) -> tuple[str, ...]:
    """Distinct prompts. Raises UsageError for an empty prompt or one that is not a string."""
    if wrong := [prompt for prompt in prompts if not isinstance(prompt, str) or not prompt.strip()]:
        raise UsageError(f"prompts must be non-empty strings, got {wrong[0]!r}")
    return tuple(dict.fromkeys(prompts))


def _read_prompts(path: str) -> tuple[str, ...]:
    try:
        with open(path, "rb") as file:
            text = file.read(_MAX_PROMPTS_BYTES + 1)
        if len(text) > _MAX_PROMPTS_BYTES:
            message = "larger than 1 MiB; give one prompt per line, at most a few dozen"
            raise UsageError(f"{path}: {message}")
        lines = text.decode("utf-8-sig").splitlines()
    except OSError as error:
        raise UsageError(f"{path}: cannot be read: {error.strerror or error}") from None
    except UnicodeDecodeError:
        raise UsageError(f"{path}: not UTF-8 text; save the file as UTF-8") from None
    prompts = dict.fromkeys(line.strip() for line in lines if line.strip())
    if not prompts:
        raise UsageError(f"{path}: contains no prompt; give one per line")
    return tuple(prompts)
