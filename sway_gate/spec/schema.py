"""sway.yaml, version 1, as frozen structs. The entries of a suite are in `sway_gate.spec.probes`.

The structs are the only source of the format: the loader and `json_schema` read fields, defaults,
limits and allowed values from them. Imports neither numpy nor torch.
"""

import datetime
import hashlib
import re
from collections.abc import Iterator, Mapping, Sequence
from itertools import chain, zip_longest
from typing import Annotated, Any, ClassVar, Final, Literal, TypedDict

import msgspec
from msgspec import Meta, structs

from sway_gate.conversation import Conversation, Message
from sway_gate.model_files.hub import is_revision
from sway_gate.spec.endpoints import wrong_endpoint
from sway_gate.spec.paths import ON_A_SHARE, is_share, several
from sway_gate.spec.yaml_nodes import shown
from sway_gate.text import is_number, seconds

SectionKind = Literal["prose", "instruction", "preference"]
Intent = Literal["generalize", "memorize"]

NonEmpty = Annotated[str, Meta(min_length=1)]
Count = Annotated[int, Meta(ge=1)]
Seed = Annotated[int, Meta(ge=0, le=2**53 - 1)]
Fraction = Annotated[float, Meta(ge=0, le=1)]
NonNegative = Annotated[float, Meta(ge=0)]
Positive = Annotated[float, Meta(gt=0)]
MIN_WEIGHT: Final = 0.001
MAX_WEIGHT: Final = 1000
Weight = Annotated[float, Meta(ge=0, le=MAX_WEIGHT)]
MAX_TEXTS, MAX_FILES, MAX_ENTRIES = 10_000, 1000, 500
Texts = tuple[str, ...]
Files = NonEmpty | Annotated[tuple[NonEmpty, ...], Meta(max_length=1000)]


class Struct(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Base of every struct: frozen, keyword-only, without unknown fields."""


# ----------------------------------------------------------------------------------------- sections


Form = Literal["auto", "plain", "chat", "alpaca"]
"""The form in which training saw a row: a text that is continued, messages that the chat template
renders, or an instruction with an optional input. auto: messages if the model has a template."""


class Pair(Struct, frozen=True, kw_only=True):
    """A prompt and the trained answer.

    The other fields come from data files only. Of form chat, `conversation` and `answer` are the
    messages, and `prompt` and `gold` their text; of a plain text with labels, what it says without
    them. `input` is the second part of an Alpaca prompt, which `prompt` contains too.
    """

    prompt: NonEmpty
    gold: NonEmpty
    form: Form = "auto"
    conversation: Conversation | None = None
    answer: Message | None = None
    input: str = ""


class Preference(Struct, frozen=True, kw_only=True):
    """A prompt with the preferred and the rejected answer; the other fields as in `Pair`."""

    prompt: NonEmpty
    chosen: NonEmpty
    rejected: NonEmpty
    form: Form = "auto"
    conversation: Conversation | None = None


class Section(Struct, frozen=True, kw_only=True):
    """A piece of the training data: `content` for prose, `pairs` for the other kinds."""

    kind: SectionKind
    id: str
    content: str = ""
    pairs: tuple[Pair | Preference, ...] = ()
    tag: str | None = None
    intent: Intent = "generalize"


class Reserve(Struct, frozen=True, kw_only=True):
    """Further samples of the data, for probes that the first sample leaves open.

    rows: number of rows in the data; 0 if no source of them can have further samples.
    """

    samples: tuple[tuple[Section, ...], ...] = ()
    rows: int = 0

    @classmethod
    def joined(cls, reserves: "Sequence[Reserve]") -> "Reserve":
        """The reserve of several sources: each sample has sections of all."""
        parts = zip_longest(*(reserve.samples for reserve in reserves), fillvalue=())
        samples = tuple(tuple(chain(*sections)) for sections in parts)
        return cls(samples=samples, rows=sum(reserve.rows for reserve in reserves))


class SectionEntry(Struct, frozen=True, kw_only=True):
    """An entry of `sections`. `id` defaults to a hash of the content."""

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
        fields["id"] = self.id or section_id(
            self.kind, fields.get("content", ""), fields.get("pairs", ())
        )
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
    """The first 16 hexadecimal digits of sha256 over the kind and the content."""
    parts = [kind, content, [_content(pair) for pair in pairs]]
    return hashlib.sha256(msgspec.json.encode(parts)).hexdigest()[:16]


def _content(pair: Pair | Preference) -> list[Any]:
    """The texts of a pair, and its messages if it has any."""
    if isinstance(pair, Preference):
        texts = [pair.prompt, pair.chosen, pair.rejected]
    else:
        texts = [pair.prompt, pair.gold]
    return [*texts, *([msgspec.to_builtins(pair.conversation)] if pair.conversation else [])]


# ------------------------------------------------------------------------------ models and defaults


Quantization = Literal["nf4", "int8"]
OF_FILES: Final = frozenset({"hf", "mlx"})
"""Kinds whose base and adapter are files."""


class ModelRef(Struct, frozen=True, kw_only=True):
    """A model: a base and, for the fine-tuned one, an adapter.

    A fine-tuned model without an adapter is itself given as `base`. `base` and `adapter` are a
    folder (absolute after loading) or a hub id; for kinds other than hf and mlx, labels that the
    backend interprets. `revision` is the base's; after loading, both models of one base have it.
    `quantization` applies to the base when it is loaded. `entry_point` is the factory of a custom
    backend, "package.module:factory".

    Of kind api, `base` is the name of a model on the server at `endpoint`; `revision` is any text
    that changes with the model. `tokenizer` is a folder or a hub id, `api_key_env` the environment
    variable with the key. The fine-tuned model has them from the base if it states none.
    """

    kind: Literal["hf", "mlx", "api", "dummy", "custom"] = "hf"
    base: NonEmpty
    adapter: NonEmpty | None = None
    revision: NonEmpty | None = None
    adapter_revision: NonEmpty | None = None
    dtype: Literal["auto", "fp16", "bf16", "fp32"] = "auto"
    quantization: Quantization | None = None
    device: NonEmpty = "auto"
    trust_remote_code: bool = False
    entry_point: str | None = None
    endpoint: str | None = None
    tokenizer: NonEmpty | None = None
    api_key_env: NonEmpty | None = None

    def mistakes(self) -> Iterator[tuple[str, str]]:
        for field in ("tokenizer", "api_key_env"):
            if getattr(self, field) and self.kind != "api":
                yield field, f"must be absent for kind: {self.kind}; only kind: api has it"
        if self.kind == "api" and self.endpoint and (wrong := wrong_endpoint(self.endpoint)):
            yield "endpoint", wrong
        if self.api_key_env and not re.fullmatch(r"SWAY_[A-Z0-9_]+", self.api_key_env):
            yield (
                "api_key_env",
                "must begin with SWAY_, so that a spec cannot send other secrets to a server",
            )
        if self.kind == "mlx" and self.trust_remote_code:
            yield "trust_remote_code", "must be false for kind: mlx, which runs no code of models"
        if self.kind == "mlx" and self.quantization:
            yield "quantization", "must be absent for kind: mlx, which runs bases as in their files"
        if self.kind == "custom" and not re.fullmatch(
            r"[^\W\d][\w.]*:[^\W\d]\w*", self.entry_point or ""
        ):
            yield (
                "entry_point",
                "must be the factory of a custom backend, as package.module:factory",
            )
        for field in ("revision", "adapter_revision"):
            if (revision := getattr(self, field)) and not is_revision(revision):
                yield field, f"must be a branch, a tag or a commit, got {shown(revision)}"


class Models(Struct, frozen=True, kw_only=True):
    """The two models that are compared: a base, and an adapter of it or a fine-tuned model."""

    base: ModelRef
    ft: ModelRef

    @property
    def is_full(self) -> bool:
        """Whether `ft` is a fine-tuned model without an adapter."""
        return self.ft.kind == "hf" and self.ft.adapter is None

    @property
    def is_api(self) -> bool:
        """Whether both are models on a server."""
        return self.ft.kind == "api"

    def mistakes(self) -> Iterator[tuple[str, str]]:
        if self.base.kind == "api" and not self.base.endpoint:
            yield "base", "must have an endpoint, such as http://localhost:8000/v1"
        if self.ft.kind == "mlx" and self.ft.adapter is None:
            yield "ft", "must have an adapter: a folder or a hub id"
        if self.is_full and (self.ft.quantization or self.base.quantization):
            yield "ft", "must have an adapter, because quantization is set"
        kinds = {self.base.kind, self.ft.kind}
        if len(kinds) > 1 or self.base.entry_point != self.ft.entry_point:
            yield "ft", "must have the kind and entry_point of models.base"
        ours, theirs = self.base.revision, self.ft.revision
        if ours and theirs and ours != theirs and not (self.is_full or self.is_api):
            named = f"{shown(ours)}, got {shown(theirs)}"
            yield "ft", f"must have the revision of models.base, {named}"


WEIGHTS: Final = f"0, or from {MIN_WEIGHT} to {MAX_WEIGHT}"


def is_weight(value: object) -> bool:
    """Whether `value` can be a weight: 0, or a number that neither vanishes nor overflows."""
    return is_number(value) and (value == 0 or MIN_WEIGHT <= value <= MAX_WEIGHT)


class ScoreWeights(TypedDict, total=False):
    """Weight of each category in the composite. `baseline` is ignored."""

    adherence: Weight
    attribution: Weight
    calibration: Weight
    ablation: Weight
    baseline: Weight


SCORE_WEIGHTS: Final[ScoreWeights] = {
    "adherence": 0.30,
    "attribution": 0.35,
    "calibration": 0.20,
    "ablation": 0.15,
}


class Defaults(Struct, frozen=True, kw_only=True):
    """Settings of the whole suite.

    `score_weights` replaces default weights of categories. `differential` false loads the base and
    the fine-tuned model separately, without null adapters. `prompt_format` is the format of the
    prompts in training; auto: the one of the data. `learn` is what training was meant to teach;
    auto: decided from the data. `timeout` ends a run of the command line with exit code 3: seconds,
    or a text such as 90s, 10m or 1h; a shorter `--timeout` applies instead. `budget` is a duration
    of the same form: probes that do not fit into it are left out and inconclusive; `--budget`
    overrides it. `top_k` and `concurrent_probes` have no effect.
    """

    seed: Seed = 0
    top_k: Count = 256
    differential: bool = True
    chat_template: Literal["auto", "on", "off"] = "auto"
    prompt_format: Literal["auto", "template", "plain", "alpaca"] = "auto"
    learn: Literal["auto", "content", "form", "preference"] = "auto"
    coverage_threshold: Fraction = 0.6
    timeout: Count | NonEmpty | None = None
    budget: Count | NonEmpty | None = None
    concurrent_probes: Annotated[int, Meta(ge=1, le=32)] = 1
    score_weights: ScoreWeights = msgspec.field(default_factory=SCORE_WEIGHTS.copy)

    def time_limit(self) -> int | None:
        """`timeout` in seconds. Raises ValueError if it is not a duration."""
        return None if self.timeout is None else seconds(str(self.timeout))

    def time_budget(self) -> int | None:
        """`budget` in seconds. Raises ValueError if it is not a duration."""
        return None if self.budget is None else seconds(str(self.budget))

    def weights(self) -> dict[str, float]:
        """The weight of each category: SCORE_WEIGHTS unless `score_weights` replaces it."""
        completed: Mapping[str, Any] = {**SCORE_WEIGHTS, **self.score_weights}
        return {category: completed[category] for category in SCORE_WEIGHTS}

    def mistakes(self) -> Iterator[tuple[str, str]]:
        if not all(map(is_weight, self.score_weights.values())):
            yield "score_weights", f"must have weights of {WEIGHTS}"
        if not any(self.weights().values()):
            yield "score_weights", "must give at least one category a positive weight"
        for field, given in (("timeout", self.time_limit), ("budget", self.time_budget)):
            try:
                given()
            except ValueError as error:
                yield field, str(error)


# ------------------------------------------------------------------------------------------- probes


class ProbeSpec(Struct, frozen=True, kw_only=True):
    """The fields of every suite entry. `line` is the entry's line in the file, 1-based."""

    is_probe: ClassVar[bool] = True
    """Whether the entry is judged; other entries are settings."""
    libraries: ClassVar[tuple[str, ...]] = ()
    """Packages that change the probe's numbers: their versions are part of the cache key."""
    order: ClassVar[int] = 5
    """Order under a time budget: attribution 1, the change 2, broken answers 3, other quick tests
    of harm 4. The quick tier judges these."""

    name: NonEmpty
    kind: str
    enabled: bool = True
    weight: Weight = 1.0
    assert_z_gte: float = 3.0
    line: int = 0

    def mistakes(self) -> Iterator[tuple[str, str]]:
        if not self.name.strip() or not self.name.isprintable():
            yield "name", "must be printable text on one line"
        if not is_weight(self.weight):
            yield "weight", f"must be {WEIGHTS}"


SECTION_KINDS: Final[dict[str, type[SectionEntry]]] = {
    "prose": ProseEntry,
    "instruction": InstructionEntry,
    "preference": PreferenceEntry,
}
HIDDEN: Final = frozenset({"line", "form", "conversation", "answer", "input"})
"""Fields that a spec file cannot set."""


class DataMap(Struct, frozen=True, kw_only=True, rename={"reply": "answer"}):
    """For data in another format: the name of the field that contains each part of a row.

    Other fields are then not read. `answer` answers `prompt`; `messages` is a conversation;
    `chosen` and `rejected` are a preference; `label` is true for a wanted answer; `text` is prose.
    """

    # `answer` in files is `reply` in Python, because HIDDEN contains the name of another `answer`.
    prompt: NonEmpty | None = None
    reply: NonEmpty | None = None
    system: NonEmpty | None = None
    history: NonEmpty | None = None
    messages: NonEmpty | None = None
    tools: NonEmpty | None = None
    chosen: NonEmpty | None = None
    rejected: NonEmpty | None = None
    label: NonEmpty | None = None
    text: NonEmpty | None = None

    def fields(self) -> dict[str, str]:
        """The names of the given fields, by part."""
        return {part: name for part, name in msgspec.to_builtins(self).items() if name}

    def mistakes(self) -> Iterator[tuple[str, str]]:
        given = self.fields().keys()
        if sum(given >= set(parts) for parts in _WHOLE) > 1 or given >= {"text", "answer"}:
            yield "text", "must not be given with the parts of another format"
        if self.prompt and self.prompt == self.reply:
            yield "answer", f"must be another field than prompt, got {shown(self.prompt)}"
        if not any(given >= set(parts) for parts in _WHOLE):
            wholes = "; ".join(" and ".join(parts) for parts in _WHOLE)
            yield "prompt", f"must be given with the parts of one format: {wholes}"


_WHOLE: Final = (("prompt", "answer"), ("messages",), ("chosen", "rejected"), ("text",))
"""Parts that make a row."""


MAX_REASON: Final = 200


class Waiver(Struct, frozen=True, kw_only=True):
    """A finding that is accepted on purpose, until the end of a day in UTC.

    It is of a probe, or the finding of the check of the files with the id `finding`.
    """

    probe: NonEmpty | None = None
    finding: NonEmpty | None = None
    reason: NonEmpty
    expires: datetime.date
    by: NonEmpty

    @property
    def target(self) -> str:
        """What is waived."""
        return self.probe or f"finding {self.finding}"

    def mistakes(self) -> Iterator[tuple[str, str]]:
        if (self.probe is None) == (self.finding is None):
            yield "probe", "must be given, or finding instead of it"
        for field, limit in (("reason", MAX_REASON), ("by", 60)):
            text = getattr(self, field)
            if not text.strip() or not text.isprintable():
                yield field, "must be printable text on one line"
            if len(text) > limit:
                yield field, f"must have at most {limit} characters, got {len(text)}"


class SpecFile(Struct, frozen=True, kw_only=True):
    """A spec file."""

    version: Literal[1] = 1
    models: Models
    defaults: Defaults = Defaults()
    suite: Annotated[tuple[ProbeSpec, ...], Meta(min_length=1, max_length=500)]
    data: Files = ()
    data_map: DataMap | None = None
    dlm_source: NonEmpty | None = None
    sections: tuple[SectionEntry, ...] = ()
    control: Files = ()
    held_out: Files = ()
    waivers: tuple[Waiver, ...] = ()

    def mistakes(self) -> Iterator[tuple[str, str]]:
        if self.models.ft.kind == "mlx" and not self.defaults.differential:
            yield "defaults", "differential must be true for kind: mlx"
        if self.dlm_source and is_share(self.dlm_source):
            yield "dlm_source", ON_A_SHARE
        for field in ("data", "held_out"):
            if any(is_share(path) for path in several(getattr(self, field))):
                yield field, ON_A_SHARE


class Spec(Struct, frozen=True, kw_only=True):
    """A loaded spec.

    held_out: files with rows that training did not see; held_out_sections: their content. reserve,
    held_out_reserve: more of the content of both. label: name of the file in messages. folder: base
    of its relative paths. notes: notes of the loader for the report.
    """

    version: int = 1
    models: Models
    defaults: Defaults = Defaults()
    suite: tuple[ProbeSpec, ...]
    data: tuple[str, ...] = ()
    data_map: DataMap | None = None
    dlm_source: str | None = None
    sections: tuple[Section, ...] = ()
    control: tuple[str, ...] = ()
    held_out: tuple[str, ...] = ()
    held_out_sections: tuple[Section, ...] = ()
    reserve: Reserve = Reserve()
    held_out_reserve: Reserve = Reserve()
    waivers: tuple[Waiver, ...] = ()
    label: str = "<spec>"
    folder: str = "."
    notes: tuple[str, ...] = ()
