"""sway.yaml, version 1, as frozen structs.

The structs are the one source of the format: fields, defaults, limits and allowed values are read from them by the
loader and by `json_schema`. A further probe kind is one more struct in `KINDS`. Imports neither numpy nor torch.
"""

import hashlib
import json
import os
import re
import sys
from collections.abc import Iterator
from typing import Annotated, Any, Final, Literal, NamedTuple, TypedDict, get_args

import msgspec
import yaml
from msgspec import Meta, structs

from sway_gate.errors import SpecError
from sway_gate.hub import is_hub_id, is_revision
from sway_gate.yamlpos import Family, Reader, compose, entries, shown

MAX_BYTES: Final = 4 * 2**20
MINILM: Final = "sentence-transformers/all-MiniLM-L6-v2"
MAX_SHOWN: Final = 200
"""Of a path, in characters."""
_SHARE: Final = "is a path on the network; copy it to this machine"

Kind = Literal[
    "null_adapter",
    "delta_kl",
    "adapter_revert",
    "prompt_collapse",
    "cluster_kl",
    "section_internalization",
    "paraphrase_invariance",
    "preference_flip",
    "style_fingerprint",
    "calibration_drift",
    "leakage",
    "external_perplexity",
    "adapter_ablation",
]
SectionKind = Literal["prose", "instruction", "preference"]
Intent = Literal["generalize", "memorize"]

NonEmpty = Annotated[str, Meta(min_length=1)]
Count = Annotated[int, Meta(ge=1)]
Positions = Annotated[int, Meta(ge=1, le=64)]
NewTokens = Annotated[int, Meta(ge=1, le=4096)]
ContextLength = Annotated[int, Meta(ge=0, le=2**20)]
Seed = Annotated[int, Meta(ge=0, le=2**53 - 1)]
Fraction = Annotated[float, Meta(ge=0, le=1)]
NonNegative = Annotated[float, Meta(ge=0)]
Positive = Annotated[float, Meta(gt=0)]


class _Struct(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Every struct of the spec: frozen, by keyword, no further fields."""


# ------------------------------------------------------------------------------------------------------- sections


class Pair(_Struct, frozen=True, kw_only=True):
    """A prompt and the answer that training taught."""

    prompt: NonEmpty
    gold: NonEmpty


class Preference(_Struct, frozen=True, kw_only=True):
    """A prompt with the answer to prefer and the one to avoid."""

    prompt: NonEmpty
    chosen: NonEmpty
    rejected: NonEmpty


class Section(_Struct, frozen=True, kw_only=True):
    """A piece of what the adapter was trained on: `content` for prose, `pairs` for the other kinds."""

    kind: SectionKind
    id: str
    content: str = ""
    pairs: tuple[Pair | Preference, ...] = ()
    tag: str | None = None
    intent: Intent = "generalize"


class SectionEntry(_Struct, frozen=True, kw_only=True):
    """One of `sections:` in the file. `id` defaults to a hash of the content."""

    kind: str
    id: NonEmpty | None = None
    tag: str | None = None
    intent: Intent = "generalize"

    def mistakes(self) -> Iterator[tuple[str, str]]:
        for field in ("id", "tag"):
            if not (getattr(self, field) or "").isprintable():
                yield field, "must be printable text on one line"

    def section(self) -> Section:
        fields = structs.asdict(self)
        fields["id"] = self.id or section_id(self.kind, fields.get("content", ""), fields.get("pairs", ()))
        return Section(**fields)


class ProseEntry(SectionEntry, frozen=True, kw_only=True):
    """Running text."""

    kind: Literal["prose"] = "prose"
    content: NonEmpty

    def mistakes(self) -> Iterator[tuple[str, str]]:
        yield from super().mistakes()
        if not self.content.strip():
            yield "content", "must not be empty"


class InstructionEntry(SectionEntry, frozen=True, kw_only=True):
    """Prompts with their answers."""

    kind: Literal["instruction"] = "instruction"
    pairs: Annotated[tuple[Pair, ...], Meta(min_length=1)]


class PreferenceEntry(SectionEntry, frozen=True, kw_only=True):
    """Prompts with a chosen and a rejected answer."""

    kind: Literal["preference"] = "preference"
    pairs: Annotated[tuple[Preference, ...], Meta(min_length=1)]


def section_id(kind: str, content: str = "", pairs: tuple[Pair | Preference, ...] = ()) -> str:
    """The first 16 hexadecimal digits of sha256 over the kind and what the section says."""
    said = [kind, content, [structs.astuple(pair) for pair in pairs]]
    return hashlib.sha256(msgspec.json.encode(said)).hexdigest()[:16]


# ------------------------------------------------------------------------------------------- models and defaults


_PLANNED: Final = frozenset({"mlx", "api"})


class ModelRef(_Struct, frozen=True, kw_only=True):
    """A model: a base and, for the fine-tuned one, an adapter.

    `base` and `adapter` are a folder (absolute once loaded) or a hub id; for other kinds than hf labels, whatever the
    backend makes of them. `revision` is the base's; once loaded, both models have it, whichever of them gave it.
    `entry_point` names the factory of a custom backend, "package.module:factory".
    """

    kind: Literal["hf", "mlx", "api", "dummy", "custom"] = "hf"
    base: NonEmpty
    adapter: NonEmpty | None = None
    revision: NonEmpty | None = None
    adapter_revision: NonEmpty | None = None
    dtype: Literal["auto", "fp16", "bf16", "fp32"] = "auto"
    device: NonEmpty = "auto"
    trust_remote_code: bool = False
    entry_point: str | None = None
    endpoint: str | None = None

    def mistakes(self) -> Iterator[tuple[str, str]]:
        if self.kind in _PLANNED:
            yield "kind", f"{self.kind!r} is known but not built yet; use hf, custom or dummy"
        if self.kind == "custom" and not re.fullmatch(r"[^\W\d][\w.]*:[^\W\d]\w*", self.entry_point or ""):
            yield "entry_point", "must name what makes a custom backend, as package.module:factory"
        for field in ("revision", "adapter_revision"):
            if (revision := getattr(self, field)) and not is_revision(revision):
                yield field, f"must be a branch, a tag or a commit, got {shown(revision)}"


class Models(_Struct, frozen=True, kw_only=True):
    """The two models that are compared."""

    base: ModelRef
    ft: ModelRef

    def mistakes(self) -> Iterator[tuple[str, str]]:
        if self.ft.adapter is None and self.ft.kind == "hf":
            yield "ft", "needs an adapter: the folder or hub id of what was trained"
        kinds = {self.base.kind, self.ft.kind}
        if kinds.isdisjoint(_PLANNED) and (len(kinds) > 1 or self.base.entry_point != self.ft.entry_point):
            yield "ft", "must have the kind and entry_point of models.base"
        if self.base.revision and self.ft.revision and self.base.revision != self.ft.revision:
            theirs = shown(self.ft.revision)
            yield "ft", f"must have the revision of models.base, {shown(self.base.revision)}, got {theirs}"


class ScoreWeights(TypedDict, total=False):
    """Weight of each category in the composite."""

    adherence: NonNegative
    attribution: NonNegative
    calibration: NonNegative
    ablation: NonNegative
    baseline: NonNegative


SCORE_WEIGHTS: Final = ScoreWeights(adherence=0.30, attribution=0.35, calibration=0.20, ablation=0.15, baseline=0.0)


class Defaults(_Struct, frozen=True, kw_only=True):
    """What holds for the whole suite. `score_weights` given in part are completed by SCORE_WEIGHTS.

    top_k and concurrent_probes are accepted and change nothing: divergences are taken over the whole vocabulary, and
    the engine batches on its own. `differential` false loads base and fine-tuned model side by side, without nulls.
    """

    seed: Seed = 0
    top_k: Count = 256
    differential: bool = True
    chat_template: Literal["auto", "on", "off"] = "auto"
    coverage_threshold: Fraction = 0.6
    concurrent_probes: Annotated[int, Meta(ge=1, le=32)] = 1
    score_weights: ScoreWeights = msgspec.field(default_factory=ScoreWeights)

    def __post_init__(self) -> None:
        structs.force_setattr(self, "score_weights", {**SCORE_WEIGHTS, **self.score_weights})

    def mistakes(self) -> Iterator[tuple[str, str]]:
        if not any(self.score_weights.values()):
            yield "score_weights", "must leave at least one category a positive weight"


# --------------------------------------------------------------------------------------------------------- probes


class ProbeSpec(_Struct, frozen=True, kw_only=True):
    """What every entry of the suite has. `line` is the entry's line in the file, 1-based."""

    name: NonEmpty
    kind: str
    enabled: bool = True
    weight: NonNegative = 1.0
    assert_z_gte: float = 3.0
    line: int = 0

    def mistakes(self) -> Iterator[tuple[str, str]]:
        if not self.name.strip() or not self.name.isprintable():
            yield "name", "must be printable text on one line"


class NullAdapter(ProbeSpec, frozen=True, kw_only=True):
    """The calibration: what the nulls are and how many. `runs` None leaves the number to the judge."""

    kind: Literal["null_adapter"] = "null_adapter"
    runs: Annotated[int, Meta(ge=1, le=256)] | None = None
    init_scale: Positive = 0.02
    seed_base: Seed = 1000
    calibrate_kinds: tuple[Kind, ...] = ()
    cache: bool = True
    rank_multipliers: Annotated[tuple[Positive, ...], Meta(min_length=1)] = (1.0,)
    null: Literal["spectrum", "init"] = "spectrum"


class DeltaKL(ProbeSpec, frozen=True, kw_only=True):
    """Mean divergence from the base at the answer positions of the prompts."""

    kind: Literal["delta_kl"] = "delta_kl"
    prompts: tuple[str, ...] = ()
    positions: Positions = 8
    divergence: Literal["js", "kl"] = "js"
    top_k: Count | None = None
    assert_mean_gte: NonNegative = 0.02


class SectionInternalization(ProbeSpec, frozen=True, kw_only=True):
    """Lift of each section over the base, beyond vocabulary and control prose."""

    kind: Literal["section_internalization"] = "section_internalization"
    include_kinds: Annotated[tuple[SectionKind, ...], Meta(min_length=1)] = ("prose", "instruction", "preference")
    per_section_threshold: float = 0.05
    assert_passing_section_frac: Fraction = 0.5
    max_prose_chars: Count = 2000


class Item(NamedTuple):
    """One general-knowledge item; in the file a list of two texts or a mapping."""

    prompt: NonEmpty
    gold: NonEmpty


class CalibrationDrift(ProbeSpec, frozen=True, kw_only=True):
    """General knowledge lost, over `items` where given, else over the pack."""

    kind: Literal["calibration_drift"] = "calibration_drift"
    pack: Literal["builtin"] = "builtin"
    items: tuple[Item, ...] = ()
    items_limit: Count | None = None
    assert_fraction_regressed_lt: Fraction = 0.15
    assert_mean_delta_gte: float = -0.5
    regression_nats: NonNegative = 1.0


class ExternalPerplexity(ProbeSpec, frozen=True, kw_only=True):
    """Fluency lost on packaged public-domain prose."""

    kind: Literal["external_perplexity"] = "external_perplexity"
    corpus: Literal["public_domain_en"] = "public_domain_en"
    chunk_chars: Annotated[int, Meta(ge=128, le=16_384)] = 2048
    max_chunks: Annotated[int, Meta(ge=1, le=128)] = 16
    assert_mean_delta_gte: float = -0.1


class AdapterAblation(ProbeSpec, frozen=True, kw_only=True):
    """The response curve over the adapter's scale λ."""

    kind: Literal["adapter_ablation"] = "adapter_ablation"
    prompts: tuple[str, ...] = ()
    positions: Positions = 4
    lambdas: Annotated[tuple[NonNegative, ...], Meta(min_length=3)] = (0.0, 0.25, 0.5, 0.75, 1.0, 1.25)
    divergence: Literal["js", "kl"] = "js"
    top_k: Count | None = None
    assert_linearity_gte: Fraction = 0.85
    assert_saturation_between: tuple[NonNegative, NonNegative] = (0.3, 1.05)
    assert_overshoot_gte: NonNegative = 1.02
    held_out: tuple[NonEmpty, ...] = ()

    def mistakes(self) -> Iterator[tuple[str, str]]:
        yield from super().mistakes()
        if len(set(self.lambdas)) < 3:
            yield "lambdas", "must hold at least 3 different numbers"
        low, high = self.assert_saturation_between
        if low >= high:
            yield "assert_saturation_between", f"must go from low to high, got {low:g} and {high:g}"


class Case(_Struct, frozen=True, kw_only=True):
    """A prompt with the answer that training taught, and other ways to ask."""

    prompt: NonEmpty
    gold: NonEmpty
    paraphrases: Annotated[tuple[NonEmpty, ...], Meta(min_length=1)]


class AdapterRevert(ProbeSpec, frozen=True, kw_only=True):
    """Share of paraphrases whose answer is nearer the base's than the gold."""

    kind: Literal["adapter_revert"] = "adapter_revert"
    cases: tuple[Case, ...] = ()
    max_new_tokens: NewTokens = 64
    embedding_model: NonEmpty = MINILM
    base_gold_similarity_cap: Annotated[float, Meta(ge=-1, le=1)] = 0.75
    assert_revert_rate_lt: Fraction = 0.25


class PromptCollapse(ProbeSpec, frozen=True, kw_only=True):
    """How the divergence holds as irrelevant context grows."""

    kind: Literal["prompt_collapse"] = "prompt_collapse"
    prompts: tuple[str, ...] = ()
    positions: Positions = 4
    context_lengths: Annotated[tuple[ContextLength, ...], Meta(min_length=2)] = (0, 256, 512, 1024)
    divergence: Literal["js", "kl"] = "js"
    top_k: Count | None = None
    assert_half_life_tokens: Count = 512
    legacy_stuffing: bool = False

    def mistakes(self) -> Iterator[tuple[str, str]]:
        yield from super().mistakes()
        if len(set(self.context_lengths)) < 2:
            yield "context_lengths", "must hold at least 2 different numbers"


class ClusterKL(ProbeSpec, frozen=True, kw_only=True):
    """How much the divergence differs between topics."""

    kind: Literal["cluster_kl"] = "cluster_kl"
    prompts: tuple[str, ...] = ()
    positions: Positions = 4
    num_clusters: Annotated[int, Meta(ge=2, le=32)] = 5
    embedding_model: NonEmpty = MINILM
    divergence: Literal["js", "kl"] = "js"
    top_k: Count | None = None
    min_prompts: Annotated[int, Meta(ge=4)] = 20
    assert_specificity_gte: Fraction = 0.6


class ParaphraseInvariance(ProbeSpec, frozen=True, kw_only=True):
    """Lift of the answers on paraphrased prompts over that on the verbatim ones."""

    kind: Literal["paraphrase_invariance"] = "paraphrase_invariance"
    cases: tuple[Case, ...] = ()
    intent: Literal["generalize", "memorize", "both"] = "generalize"
    min_verbatim_lift: NonNegative = 0.2
    min_generalization_ratio: NonNegative = 0.5
    max_generalization_ratio_if_memorize: NonNegative = 0.5


class PreferenceFlip(ProbeSpec, frozen=True, kw_only=True):
    """Margin of the chosen answer over the rejected one, per token."""

    kind: Literal["preference_flip"] = "preference_flip"
    triples: tuple[Preference, ...] = ()
    assert_flip_rate_gte: Fraction = 0.7
    min_triples_for_decision: Count = 3


class StyleFingerprint(ProbeSpec, frozen=True, kw_only=True):
    """Shift of the generated style toward the document's."""

    kind: Literal["style_fingerprint"] = "style_fingerprint"
    prompts: tuple[str, ...] = ()
    doc_reference: str = ""
    max_new_tokens: NewTokens = 128
    assert_shift_gte: float = 0.25
    extended: Literal["auto", "on", "off"] = "auto"


Perturbation = Literal[
    "typo", "case_flip", "drop_punct", "synonym_swap", "clause_reverse", "prefix_inject", "register_shift"
]


class Leakage(ProbeSpec, frozen=True, kw_only=True):
    """Verbatim extraction of the sections."""

    kind: Literal["leakage"] = "leakage"
    prefix_chars: Count = 128
    continuation_chars: Count = 256
    max_new_tokens: NewTokens = 96
    perturbations: tuple[Perturbation, ...] = get_args(Perturbation)
    assert_recall_lt: NonNegative = 0.5
    min_fragility: NonNegative = 0.3
    evidence: Literal["none", "generate"] = "none"


KINDS: Final[dict[str, type[ProbeSpec]]] = {
    "null_adapter": NullAdapter,
    "delta_kl": DeltaKL,
    "adapter_revert": AdapterRevert,
    "prompt_collapse": PromptCollapse,
    "cluster_kl": ClusterKL,
    "section_internalization": SectionInternalization,
    "paraphrase_invariance": ParaphraseInvariance,
    "preference_flip": PreferenceFlip,
    "style_fingerprint": StyleFingerprint,
    "calibration_drift": CalibrationDrift,
    "leakage": Leakage,
    "external_perplexity": ExternalPerplexity,
    "adapter_ablation": AdapterAblation,
}
_SECTION_KINDS: Final[dict[str, type[SectionEntry]]] = {
    "prose": ProseEntry,
    "instruction": InstructionEntry,
    "preference": PreferenceEntry,
}
_FAMILIES: Final[dict[type, Family]] = {
    ProbeSpec: Family(KINDS),
    SectionEntry: Family(_SECTION_KINDS),
}
_HIDDEN: Final = frozenset({"line"})


class SpecFile(_Struct, frozen=True, kw_only=True):
    """The file as it is written."""

    version: Literal[1] = 1
    models: Models
    defaults: Defaults = Defaults()
    suite: Annotated[tuple[ProbeSpec, ...], Meta(min_length=1)]
    data: NonEmpty | tuple[NonEmpty, ...] = ()
    dlm_source: NonEmpty | None = None
    sections: tuple[SectionEntry, ...] = ()
    control: NonEmpty | tuple[NonEmpty, ...] = ()

    def mistakes(self) -> Iterator[tuple[str, str]]:
        if self.dlm_source and _is_share(self.dlm_source):
            yield "dlm_source", _SHARE
        if any(_is_share(path) for path in several(self.data)):
            yield "data", _SHARE


class Spec(_Struct, frozen=True, kw_only=True):
    """A loaded spec. label: how messages name the file. folder: what its relative paths start from. notes: what the
    reader of the report should know about how it was read."""

    version: int = 1
    models: Models
    defaults: Defaults = Defaults()
    suite: tuple[ProbeSpec, ...]
    data: tuple[str, ...] = ()
    dlm_source: str | None = None
    sections: tuple[Section, ...] = ()
    control: tuple[str, ...] = ()
    label: str = "<spec>"
    folder: str = "."
    notes: tuple[str, ...] = ()


# -------------------------------------------------------------------------------------------------------- loading


def load(path: str) -> Spec:
    """The spec at `path`, or from standard input for '-'. Raises SpecError with every mistake in it."""
    if path == "-":
        return loads(_decoded(sys.stdin.buffer.read(MAX_BYTES + 1), "<stdin>"), "<stdin>", os.getcwd())
    label = path if path.isprintable() else ascii(path)
    try:
        with open(path, "rb") as file:
            data = file.read(MAX_BYTES + 1)
    except (OSError, ValueError) as error:
        wrong = "is a folder; name the file in it" if os.path.isdir(path) else _reason(error)
        raise SpecError([f"{label}: {wrong}"]) from None
    return loads(_decoded(data, label), label, os.path.dirname(os.path.abspath(path)))


def _reason(error: Exception) -> str:
    if isinstance(error, FileNotFoundError):
        return "no such file"
    return f"cannot be read: {error.strerror if isinstance(error, OSError) else 'its name holds a NUL character'}"


def _decoded(data: bytes, label: str) -> str:
    if len(data) > MAX_BYTES:
        raise SpecError([f"{label}: larger than {MAX_BYTES // 2**20} MiB; a spec is a small file"])
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise SpecError([f"{label}:{line}:1: not UTF-8 text; save the file as UTF-8"]) from None


def loads(text: str, label: str, folder: str) -> Spec:
    """The spec in `text`; its relative paths start from `folder`. Raises SpecError with every mistake in it."""
    root = compose(text, label)
    reader = Reader(label, _FAMILIES, _HIDDEN)
    file = reader.read(root, SpecFile)
    notes: list[str] = []
    refs = {id(ref): _located(reader, ref, folder, notes) for ref in reader.made(ModelRef)}
    for models in reader.made(Models):
        _check_bases(reader, models, refs[id(models.base)], refs[id(models.ft)], notes)
    _check_names(reader, root)
    _check_suite(reader)
    sections = _sections(reader)
    reader.finish()
    base, ft = refs[id(file.models.base)], refs[id(file.models.ft)]
    revision = base.revision or ft.revision
    return Spec(
        models=Models(base=structs.replace(base, revision=revision), ft=structs.replace(ft, revision=revision)),
        defaults=file.defaults,
        suite=tuple(_with_embedder(probe, folder, notes) for probe in file.suite),
        data=tuple(_found(path, folder, notes, hub=False)[0] for path in several(file.data)),
        dlm_source=file.dlm_source and _found(file.dlm_source, folder, notes, hub=False)[0],
        sections=sections,
        control=several(file.control),
        label=label,
        folder=os.path.abspath(folder),
        notes=tuple(dict.fromkeys(notes)),
    )


def _check_names(reader: Reader, root: yaml.Node) -> None:
    """Names are unique, also among entries that are wrong in other ways."""
    suite = entries(root)["suite"][1] if isinstance(root, yaml.MappingNode) and "suite" in entries(root) else None
    first: dict[str, str] = {}
    for index, entry in enumerate(suite.value if isinstance(suite, yaml.SequenceNode) else ()):
        fields = entries(entry) if isinstance(entry, yaml.MappingNode) else {}
        kind, name = (fields[key][1].value if key in fields else None for key in ("kind", "name"))
        place = f"suite[{index}]" + (f" ({kind})" if kind in get_args(Kind) else "")
        if not name or not isinstance(name, str):
            continue
        where = first.setdefault(name, f"{place} in line {entry.start_mark.line + 1}")
        if not where.startswith(f"suite[{index}]"):
            reader.blame_node(fields["name"][1], place, "name", f"is {shown(name)}, as in {where}; it must be unique")


def _check_suite(reader: Reader) -> None:
    """There is at most one calibration, and something to judge."""
    calibrations = reader.made(NullAdapter)
    for probe in calibrations[1:]:
        where = f"{reader.place(calibrations[0])} in line {calibrations[0].line}"
        reader.blame(probe, "kind", f"is 'null_adapter', as in {where}; it must be unique")
    for file in reader.made(SpecFile):
        judged = any(probe.enabled and probe.kind != "null_adapter" for probe in file.suite)
        if not judged and reader.is_whole("suite"):
            reader.blame(file, "suite", "must hold an enabled probe besides null_adapter, or nothing is judged")


def _sections(reader: Reader) -> tuple[Section, ...]:
    first: dict[str, SectionEntry] = {}
    for entry in reader.made(SectionEntry):
        section = entry.section()
        other = first.setdefault(section.id, entry)
        if other is not entry:
            made = "" if entry.id else " (a hash of what it says)"
            reader.blame(entry, "id", f"is {shown(section.id)}{made}, as in {reader.place(other)}; it must be unique")
    return tuple(entry.section() for entry in reader.made(SectionEntry))


# ---------------------------------------------------------------------------------------------------------- paths


def _check_bases(reader: Reader, models: Models, base: ModelRef, ft: ModelRef, notes: list[str]) -> None:
    if base.base != ft.base:
        ours, theirs = shown(base.base, MAX_SHOWN), shown(ft.base, MAX_SHOWN)
        reader.blame(models.ft, "base", f"must be the base of models.base, {ours}, got {theirs}")
    if base.adapter is not None:
        notes.append("models.base.adapter is ignored: the base is the model without an adapter")


def _located(reader: Reader, ref: ModelRef, folder: str, notes: list[str]) -> ModelRef:
    """`ref` with its paths made absolute."""
    if ref.kind != "hf":
        return ref
    found: dict[str, str] = {}
    for field in ("base", "adapter"):
        if written := getattr(ref, field):
            found[field], wrong = _found(written, folder, notes, hub=is_hub_id(written))
            if wrong:
                reader.blame(ref, field, wrong)
    return structs.replace(ref, **found)


def _with_embedder(probe: ProbeSpec, folder: str, notes: list[str]) -> ProbeSpec:
    """A folder in place of a hub id is absolute; that it is there is the embedder's to say."""
    if isinstance(probe, AdapterRevert | ClusterKL) and not _is_share(probe.embedding_model):
        model = probe.embedding_model
        return structs.replace(probe, embedding_model=_found(model, folder, notes, hub=is_hub_id(model))[0])
    return probe


def several(value: str | tuple[str, ...]) -> tuple[str, ...]:
    """What a field holds that takes one text or a list of them."""
    return (value,) if isinstance(value, str) else value


def _found(written: str, folder: str, notes: list[str], *, hub: bool) -> tuple[str, str]:
    """(absolute path, "") where something is there; else, where `hub` says that it can be one, (hub id, "");
    else (the path that was expected, complaint). The spec's folder comes before the current one; only a folder hides
    a hub id of the same name."""
    if _is_share(written):
        return written, f"{shown(written)} {_SHARE}"
    path = os.path.expanduser(written)
    places = list(dict.fromkeys(os.path.abspath(place) for place in (folder, os.getcwd())))
    exists = os.path.isdir if hub else os.path.exists
    for place in places:
        candidate = os.path.abspath(os.path.join(place, path))
        if exists(candidate):
            if place != places[0]:
                notes.append(
                    f"{shown(written, MAX_SHOWN)} was found in the current folder, not beside the spec: {candidate}"
                )
            return candidate, ""
    if hub:
        return written, ""
    looked = "" if os.path.isabs(path) else f" (looked in {' and '.join(places)})"
    return os.path.join(places[0], path), f"{shown(written, MAX_SHOWN)} does not exist{looked}"


def _is_share(path: str) -> bool:
    """Opening a share makes Windows send the user's credentials over the network."""
    return path.startswith("\\\\") or (os.name == "nt" and re.match(r"[\\/]{2}", path) is not None)


# --------------------------------------------------------------------------------------------------------- schema


def json_schema() -> dict[str, Any]:
    """JSON Schema 2020-12 of a spec file, for editors. Rules across fields and files are `load`'s alone."""
    classes = (*KINDS.values(), *_SECTION_KINDS.values())
    _, defs = msgspec.json.schema_components((SpecFile, Pair, *classes), ref_template="#/$defs/{name}")
    for cls in classes:
        defs[cls.__name__]["required"].insert(0, "kind")
    for definition in defs.values():
        for name in _HIDDEN & definition.get("properties", {}).keys():
            del definition["properties"][name]
    defs["ScoreWeights"]["additionalProperties"] = False
    defs["Item"] = {"anyOf": [defs["Item"], {"$ref": "#/$defs/Pair"}]}
    defs["ProbeSpec"] = {"oneOf": [{"$ref": f"#/$defs/{cls.__name__}"} for cls in KINDS.values()]}
    defs["SectionEntry"] = {"oneOf": [{"$ref": f"#/$defs/{cls.__name__}"} for cls in _SECTION_KINDS.values()]}
    root = {"$schema": "https://json-schema.org/draft/2020-12/schema", **defs.pop("SpecFile"), "$defs": defs}
    schema: dict[str, Any] = json.loads(json.dumps(root | {"title": "sway.yaml"}))
    return schema
