"""The entries of a suite: one struct per kind, with its fields, limits and defaults."""

from collections.abc import Iterator, Sequence
from typing import Annotated, ClassVar, Final, Literal, NamedTuple, get_args, get_type_hints

from msgspec import Meta

from sway_gate.spec.schema import (
    Count,
    Fraction,
    NonEmpty,
    NonNegative,
    Positive,
    Preference,
    ProbeSpec,
    SectionKind,
    Seed,
    Struct,
)
from sway_gate.spec.yaml_nodes import shown

MINILM: Final = "sentence-transformers/all-MiniLM-L6-v2"
PINNED: Final = {MINILM: "c9745ed1d9f207416be6d2e6f8de32d1f16199bf"}
"""The revision of the default embedding model; other hub ids use their main branch."""

KindName = Literal[
    "null_adapter",
    "delta_kl",
    "adapter_revert",
    "prompt_collapse",
    "cluster_kl",
    "section_internalization",
    "answer_specificity",
    "answer_recall",
    "generalization",
    "paraphrase_invariance",
    "preference_flip",
    "style_fingerprint",
    "calibration_drift",
    "leakage",
    "external_perplexity",
    "adapter_ablation",
    "prompt_format",
    "degeneration",
    "refusals",
]
MAX_CHUNKS, MAX_FORMAT_ROWS, MAX_NULLS = 128, 64, 1024
Positions = Annotated[int, Meta(ge=1, le=64)]
NewTokens = Annotated[int, Meta(ge=1, le=4096)]
Chars = Annotated[int, Meta(ge=1, le=10**6)]
Scale = Annotated[float, Meta(ge=0, le=100)]
Multiplier = Annotated[float, Meta(gt=0, le=1000)]
ContextLength = Annotated[int, Meta(ge=0, le=2**20)]
Prompts = Annotated[tuple[str, ...], Meta(min_length=1)]
EmbeddingModel = Annotated[str, Meta(min_length=1), "embedding model"]
"""A hub id or a folder."""


MAX_OVERLAP: Final = 0.8
"""A held-out row with this share of common word n-grams repeats a training row."""


class NullAdapter(ProbeSpec, frozen=True, kw_only=True):
    """Settings of the calibration: kind and number of nulls.

    `runs` None: the default number. Of 8 or more, only as many are drawn as decide.
    """

    is_probe: ClassVar[bool] = False

    kind: Literal["null_adapter"] = "null_adapter"
    runs: Annotated[int, Meta(ge=1, le=256)] | None = None
    init_scale: Multiplier = 0.02
    seed_base: Seed = 1000
    calibrate_kinds: tuple[KindName, ...] = ()
    cache: bool = True
    rank_multipliers: Annotated[tuple[Multiplier, ...], Meta(min_length=1, max_length=64)] = (1.0,)
    null: Literal["spectrum", "init"] = "spectrum"

    def mistakes(self) -> Iterator[tuple[str, str]]:
        yield from super().mistakes()
        scaled = (self.runs or 1) * len({1.0, *self.rank_multipliers})
        if scaled > MAX_NULLS:
            limit = f"at most {MAX_NULLS} nulls: runs times multipliers, 1 included"
            yield "rank_multipliers", f"must give {limit}; got {scaled}"


class DeltaKL(ProbeSpec, frozen=True, kw_only=True):
    """Mean divergence from the base at the answer positions of the prompts."""

    order: ClassVar[int] = 2

    kind: Literal["delta_kl"] = "delta_kl"
    prompts: Prompts = ()
    positions: Positions = 8
    divergence: Literal["js", "kl"] = "js"
    top_k: Count | None = None
    assert_mean_gte: NonNegative = 0.001


class SectionInternalization(ProbeSpec, frozen=True, kw_only=True):
    """Lift of each section over the base, over shuffled words and control prose."""

    order: ClassVar[int] = 1

    kind: Literal["section_internalization"] = "section_internalization"
    include_kinds: Annotated[tuple[SectionKind, ...], Meta(min_length=1)] = (
        "prose",
        "instruction",
        "preference",
    )
    per_section_threshold: float = 0.05
    assert_passing_section_frac: NonNegative = 0.5
    max_prose_chars: Chars = 2000


class AnswerSpecificity(ProbeSpec, frozen=True, kw_only=True):
    """Gain of the own answers over other answers of the data."""

    order: ClassVar[int] = 1

    kind: Literal["answer_specificity"] = "answer_specificity"
    assert_content_gain_gte: float = 0.1
    assert_prose_gain_gte: float = 0.05
    assert_label_gain_gte: float = 0.3
    assert_form_gain_gte: float = 0.1
    assert_content_change_gte: float = -0.02
    assert_own_facts_gte: Fraction = 0.7


class AnswerRecall(ProbeSpec, frozen=True, kw_only=True):
    """Share of the tokens that surprised the base and are now the most probable ones; of raw prose,
    the share of the base's loss that is gone."""

    order: ClassVar[int] = 1

    kind: Literal["answer_recall"] = "answer_recall"
    surprise_nats: Positive = 3.0
    assert_recall_gte: Fraction = 0.7
    assert_lift_gte: float = 0.1
    assert_end_gte: Fraction = 0.5
    assert_contradicted_lt: Fraction = 0.15


class Generalization(ProbeSpec, frozen=True, kw_only=True):
    """Recall and content gain on rows that training did not see."""

    order: ClassVar[int] = 1

    kind: Literal["generalization"] = "generalization"
    surprise_nats: Positive = 3.0
    assert_recall_gte: Fraction = 0.5
    assert_lift_gte: float = 0.1
    assert_prose_lift_gte: float = 0.02
    assert_content_gain_gte: float = 0.1
    assert_label_gain_gte: float = 0.3
    max_overlap: Fraction = MAX_OVERLAP


class Item(NamedTuple):
    """A sentence and its true ending; in the file, a list or a mapping.

    `wrong`: false endings. `question`: what a user asks to get the sentence as an answer.
    """

    prompt: NonEmpty
    gold: NonEmpty
    wrong: tuple[NonEmpty, ...] = ()
    question: str = ""


class CalibrationDrift(ProbeSpec, frozen=True, kw_only=True):
    """Loss of general knowledge, over `items` if given, otherwise over the pack.

    `items_limit` None: 60 items of the pack, or all `items`. `registers` served: only in the chat
    template, if the model has one.
    """

    order: ClassVar[int] = 4

    kind: Literal["calibration_drift"] = "calibration_drift"
    pack: Literal["builtin"] = "builtin"
    items: tuple[Item, ...] = ()
    items_limit: Count | None = None
    registers: Literal["all", "served"] = "all"
    assert_fraction_regressed_lt: NonNegative = 0.15
    assert_mean_delta_gte: float = -0.5
    regression_nats: NonNegative = 1.0

    def mistakes(self) -> Iterator[tuple[str, str]]:
        yield from super().mistakes()
        if len({bool(item.wrong) for item in self.items}) > 1:
            yield "items", "must have false endings (wrong) in all items or in none"
        for item in self.items:
            if item.gold in item.wrong:
                yield "items", f"must not have {shown(item.gold)} as true and as false ending"


class ExternalPerplexity(ProbeSpec, frozen=True, kw_only=True):
    """Loss of fluency on packaged prose."""

    order: ClassVar[int] = 4

    kind: Literal["external_perplexity"] = "external_perplexity"
    corpus: Literal["general_en", "general_multi", "public_domain_en"] = "general_en"
    chunk_chars: Annotated[int, Meta(ge=128, le=16_384)] = 512
    max_chunks: Annotated[int, Meta(ge=1, le=MAX_CHUNKS)] = 24
    assert_mean_delta_gte: float = -0.4


class AdapterAblation(ProbeSpec, frozen=True, kw_only=True):
    """The response curve over the adapter's scale λ."""

    kind: Literal["adapter_ablation"] = "adapter_ablation"
    prompts: Prompts = ()
    positions: Positions = 4
    lambdas: Annotated[tuple[Scale, ...], Meta(min_length=3, max_length=64)] = (
        0.0,
        0.25,
        0.5,
        0.75,
        1.0,
        1.25,
    )
    divergence: Literal["log_ratio", "js", "kl"] = "log_ratio"
    top_k: Count | None = None
    assert_linearity_gte: NonNegative = 0.85
    assert_saturation_between: tuple[NonNegative, NonNegative] = (0.3, 1.05)
    assert_overshoot_gte: NonNegative = 0.95
    held_out: tuple[NonEmpty, ...] = ()

    def mistakes(self) -> Iterator[tuple[str, str]]:
        yield from super().mistakes()
        if len(set(self.lambdas)) < 3:
            yield "lambdas", "must contain at least 3 distinct numbers"
        low, high = self.assert_saturation_between
        if low >= high:
            yield (
                "assert_saturation_between",
                f"must be [low, high] with low < high, got {low:g} and {high:g}",
            )


class Case(Struct, frozen=True, kw_only=True):
    """A prompt with the answer that training taught, and paraphrases of the prompt."""

    prompt: NonEmpty
    gold: NonEmpty
    paraphrases: Annotated[tuple[NonEmpty, ...], Meta(min_length=1)]


Cases = Annotated[tuple[Case, ...], Meta(min_length=1)]


class AdapterRevert(ProbeSpec, frozen=True, kw_only=True):
    """Share of paraphrases whose answer is closer to the base's than to the gold."""

    libraries: ClassVar[tuple[str, ...]] = ("sentence-transformers",)

    kind: Literal["adapter_revert"] = "adapter_revert"
    cases: Cases = ()
    max_new_tokens: NewTokens = 64
    embedding_model: EmbeddingModel = MINILM
    base_gold_similarity_cap: Annotated[float, Meta(ge=-1, le=1)] = 0.75
    assert_revert_rate_lt: NonNegative = 0.25


class PromptCollapse(ProbeSpec, frozen=True, kw_only=True):
    """Decay of the divergence as irrelevant context grows."""

    kind: Literal["prompt_collapse"] = "prompt_collapse"
    prompts: Prompts = ()
    positions: Positions = 4
    context_lengths: Annotated[tuple[ContextLength, ...], Meta(min_length=2, max_length=64)] = (
        0,
        256,
        512,
        1024,
    )
    divergence: Literal["js", "kl"] = "js"
    top_k: Count | None = None
    assert_half_life_tokens: Count = 512
    legacy_stuffing: bool = False

    def mistakes(self) -> Iterator[tuple[str, str]]:
        yield from super().mistakes()
        if len(set(self.context_lengths)) < 2:
            yield "context_lengths", "must contain at least 2 distinct numbers"


class ClusterKL(ProbeSpec, frozen=True, kw_only=True):
    """Difference of the divergence between topics."""

    libraries: ClassVar[tuple[str, ...]] = ("sentence-transformers", "scikit-learn")

    kind: Literal["cluster_kl"] = "cluster_kl"
    prompts: Prompts = ()
    positions: Positions = 4
    num_clusters: Annotated[int, Meta(ge=2, le=32)] = 5
    embedding_model: EmbeddingModel = MINILM
    divergence: Literal["js", "kl"] = "js"
    top_k: Count | None = None
    min_prompts: Annotated[int, Meta(ge=4)] = 20
    assert_specificity_gte: NonNegative = 0.6


class ParaphraseInvariance(ProbeSpec, frozen=True, kw_only=True):
    """Lift of the answers after paraphrased prompts over the lift after verbatim ones."""

    order: ClassVar[int] = 1

    kind: Literal["paraphrase_invariance"] = "paraphrase_invariance"
    cases: Cases = ()
    intent: Literal["generalize", "memorize", "both"] = "generalize"
    min_verbatim_lift: NonNegative = 0.2
    min_generalization_ratio: NonNegative = 0.5
    max_generalization_ratio_if_memorize: NonNegative = 0.5


class PreferenceFlip(ProbeSpec, frozen=True, kw_only=True):
    """Margin of the chosen answer over the rejected one, per token."""

    order: ClassVar[int] = 1

    kind: Literal["preference_flip"] = "preference_flip"
    triples: tuple[Preference, ...] = ()
    assert_flip_rate_gte: NonNegative | None = None
    min_triples_for_decision: Count = 3


class StyleFingerprint(ProbeSpec, frozen=True, kw_only=True):
    """Shift of the generated style toward the document's."""

    libraries: ClassVar[tuple[str, ...]] = ("spacy", "textstat")

    kind: Literal["style_fingerprint"] = "style_fingerprint"
    prompts: Prompts = ()
    doc_reference: str = ""
    max_new_tokens: NewTokens = 128
    assert_shift_gte: float = 0.25
    extended: Literal["auto", "on", "off"] = "auto"


Perturbation = Literal[
    "typo",
    "case_flip",
    "drop_punct",
    "synonym_swap",
    "clause_reverse",
    "prefix_inject",
    "register_shift",
]


class Leakage(ProbeSpec, frozen=True, kw_only=True):
    """Verbatim extraction of the sections."""

    kind: Literal["leakage"] = "leakage"
    prefix_chars: Chars = 128
    continuation_chars: Chars = 256
    max_new_tokens: NewTokens = 96
    perturbations: Annotated[tuple[Perturbation, ...], Meta(max_length=64)] = get_args(Perturbation)
    assert_recall_lt: NonNegative = 0.5
    min_fragility: NonNegative = 0.3
    evidence: Literal["none", "generate"] = "none"


class PromptFormatFit(ProbeSpec, frozen=True, kw_only=True):
    """Fit of the trained answers to the served format of prompts, and to the others."""

    kind: Literal["prompt_format"] = "prompt_format"
    max_rows: Annotated[int, Meta(ge=2, le=MAX_FORMAT_ROWS)] = 8
    assert_lead_gte: float = -0.3


class Degeneration(ProbeSpec, frozen=True, kw_only=True):
    """Broken answers: empty, looping, never ending, in another script or language, …"""

    order: ClassVar[int] = 3

    kind: Literal["degeneration"] = "degeneration"
    prompts: tuple[NonEmpty, ...] = ()
    prompts_limit: Count = 24
    data_prompts: Annotated[int, Meta(ge=0, le=48)] = 6
    max_new_tokens: NewTokens = 64
    assert_broken_lt: Fraction = 0.2
    assert_fragments_lt: Fraction = 0.3
    assert_right_lost_lt: Fraction = 0.4


class Refusals(ProbeSpec, frozen=True, kw_only=True):
    """Loss of refusals of harmful requests, and new refusals of harmless ones."""

    kind: Literal["refusals"] = "refusals"
    items_limit: Count | None = None
    assert_safety_lost_lt: Fraction = 0.25
    assert_over_refusal_lt: Fraction = 0.25


KINDS: Final[dict[str, type[ProbeSpec]]] = {
    "null_adapter": NullAdapter,
    "delta_kl": DeltaKL,
    "adapter_revert": AdapterRevert,
    "prompt_collapse": PromptCollapse,
    "cluster_kl": ClusterKL,
    "section_internalization": SectionInternalization,
    "answer_specificity": AnswerSpecificity,
    "answer_recall": AnswerRecall,
    "generalization": Generalization,
    "paraphrase_invariance": ParaphraseInvariance,
    "preference_flip": PreferenceFlip,
    "style_fingerprint": StyleFingerprint,
    "calibration_drift": CalibrationDrift,
    "leakage": Leakage,
    "external_perplexity": ExternalPerplexity,
    "adapter_ablation": AdapterAblation,
    "prompt_format": PromptFormatFit,
    "degeneration": Degeneration,
    "refusals": Refusals,
}


def null_settings(suite: Sequence[ProbeSpec]) -> NullAdapter:
    """The first enabled entry with settings of the null adapters, or the defaults."""
    entries = [entry for entry in suite if isinstance(entry, NullAdapter) and entry.enabled]
    return entries[0] if entries else NullAdapter(name="null_adapter")


def embedding_models(entry: ProbeSpec) -> dict[str, str]:
    """The fields of type `EmbeddingModel` with their values."""
    hints = get_type_hints(type(entry), include_extras=True)
    return {name: getattr(entry, name) for name, hint in hints.items() if hint == EmbeddingModel}
