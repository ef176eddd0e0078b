"""The probes that some training data can support, and why others are left out."""

import re
import statistics
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from functools import cache
from typing import Any, Final, NamedTuple

import msgspec

from sway_gate.probes import module
from sway_gate.probes.base import CannotRun, Context, Skip
from sway_gate.spec.probes import KINDS, PreferenceFlip
from sway_gate.spec.schema import Intent, Pair, Section, SectionKind
from sway_gate.suites.paraphrases import paraphrases
from sway_gate.suites.prompts import MAX_CHARS, is_usable, openings, prompts
from sway_gate.training_data import packaged
from sway_gate.training_data.load import thinned

_MOVED, _CURVE, _BEHIND, _STYLE, _CASES = 12, 6, 6, 6, 8
"""Prompts or cases of a probe."""
_OWN, _LEAST_OWN, _OTHER = 20, 10, 20
"""Prompts of cluster_kl: of the data, and on other subjects."""
_SHARED: Final = 1 / 3
_WORD: Final = re.compile(r"[^\W\d_]{4,}")
_FRAME_WORDS: Final = frozenset(
    {"answer", "assistant", "completion", "context", "human", "input", "instruction", "output", "prompt", "question",
     "request", "response", "system", "user"}
)  # fmt: skip
"""What formats put around a text."""
_MAX_ANSWER_CHARS: Final = 1000
_ORDERED_WORDS: Final = 4
"""An answer of fewer words is about the same in random order."""


class Material(NamedTuple):
    """What a suite is made of. by_heart: why training asked to learn answers by heart, "" where it did not say so.
    no_meanings: why sentence embeddings are not to be had, "" where they are."""

    sections: tuple[Section, ...]
    by_heart: str = ""
    no_meanings: str = ""

    def of(self, *kinds: SectionKind) -> list[Section]:
        return [section for section in self.sections if section.kind in kinds]


class Entry(NamedTuple):
    """One of `suite:`, with what is to be said of it besides its kind's question."""

    fields: dict[str, Any]
    remarks: tuple[str, ...] = ()


class LeftOut(NamedTuple):
    kind: str
    reason: str


Chosen = Iterator[Entry | LeftOut]


def suite(material: Material) -> list[Entry | LeftOut]:
    """Harms first, so that what broke the model is named before what it did not learn."""
    return [found for choose in _CHOICES for found in choose(material)]


def _calibration(_: Material) -> Chosen:
    yield _entry("null_baseline", "null_adapter")
    yield _entry("kept_prose", "external_perplexity", chunk_chars=512, max_chunks=16)
    yield _entry("kept_knowledge", "calibration_drift")


def _leakage(material: Material) -> Chosen:
    yield _tried(material, _entry("recites_nothing", "leakage"))


def _delta_kl(material: Material) -> Chosen:
    yield _entry("moved_from_base", "delta_kl", prompts=_prompts(material, _MOVED))


def _section_internalization(material: Material) -> Chosen:
    kinds = [kind for kind in _LEARNED if (own := material.of(kind)) and _are_ordered(own)]
    if kinds:
        every = {section.kind for section in material.sections} == set(kinds)
        yield _entry(
            "learned_the_data",
            "section_internalization",
            **({} if every else {"include_kinds": kinds}),
        )
    elif material.of(*_LEARNED):
        yield LeftOut(
            "section_internalization", "texts of a few words are much the same in random order"
        )
    else:
        yield LeftOut(
            "section_internalization",
            "preferences may lower the likelihood of both answers, and rightly so",
        )


_LEARNED: Final[tuple[SectionKind, ...]] = ("prose", "instruction")


def _are_ordered(sections: Sequence[Section]) -> bool:
    """Whether most of the texts have enough words for their order to matter."""
    texts = [
        section.content or " ".join(p.gold for p in section.pairs if isinstance(p, Pair))
        for section in sections
    ]
    return statistics.median(len(text.split()) for text in texts) >= _ORDERED_WORDS


def _paraphrase_invariance(material: Material) -> Chosen:
    generalize, memorize = (_cases(material, intent) for intent in ("generalize", "memorize"))
    if generalize:
        yield _entry("answers_other_words", "paraphrase_invariance", cases=generalize)
    if memorize:
        # To know the answer in other words as well is no fault.
        fields = {
            "intent": "memorize",
            "max_generalization_ratio_if_memorize": 1.5,
            "cases": memorize,
        }
        entry = _entry("answers_by_heart", "paraphrase_invariance", **fields)
        yield entry._replace(
            remarks=(material.by_heart or "The data says intent: memorize of these.",)
        )
    if not (generalize or memorize):
        yield LeftOut("paraphrase_invariance", _no_cases(material))


def _no_cases(material: Material) -> str:
    questions = material.of("instruction")
    if not questions:
        return "the data has no questions with answers"
    if all(_intent(material, section) == "memorize" for section in questions):
        return "its answers are to be known by heart, not in other words"
    return (
        "no question is short and in English with a short answer, as the rules for paraphrases ask"
    )


def _preference_flip(material: Material) -> Chosen:
    least = PreferenceFlip(name="preference_flip").min_triples_for_decision
    triples = sum(len(section.pairs) for section in material.of("preference"))
    if triples >= least:
        yield _entry("prefers_the_chosen", "preference_flip")
    else:
        yield LeftOut(
            "preference_flip", f"takes {least} preferences; the data has {triples or 'none'}"
        )


def _prompt_collapse(material: Material) -> Chosen:
    yield _entry("holds_in_context", "prompt_collapse", prompts=_prompts(material, _BEHIND))


def _style_fingerprint(material: Material) -> Chosen:
    """Off: an adapter that learned facts in a style that the base has already is healthy, and would fail."""
    style = _entry(
        "writes_like_the_text",
        "style_fingerprint",
        enabled=False,
        prompts=openings(material.sections, _STYLE),
    )
    yield _tried(
        material, style._replace(remarks=("Switch it on where training was to teach a style.",))
    )


def _adapter_revert(material: Material) -> Chosen:
    cases = _cases(material, "generalize")
    if reason := material.no_meanings or ("" if cases else _no_cases(material)):
        yield LeftOut("adapter_revert", reason)
    else:
        yield _entry(
            "answers_as_taught",
            "adapter_revert",
            max_new_tokens=48,
            assert_revert_rate_lt=0.5,
            cases=cases,
        )


def _cluster_kl(material: Material) -> Chosen:
    own = prompts(material.sections, _OWN)
    subject = _subject(material.of("prose", "instruction"))
    if material.no_meanings:
        yield LeftOut("cluster_kl", material.no_meanings)
    elif len(own) < _LEAST_OWN:
        yield LeftOut(
            "cluster_kl", f"takes {_LEAST_OWN} prompts from the data, which gives {len(own)}"
        )
    elif not subject:
        yield LeftOut(
            "cluster_kl",
            "the texts share no subject, and other training may change everything alike",
        )
    else:
        general = [prompt for prompt, _ in packaged.knowledge()[:_OTHER]]
        entry = _entry("changed_its_subject", "cluster_kl", prompts=own + general)
        yield entry._replace(
            remarks=(f"Their subject by their words: {subject}. The later prompts are on others.",)
        )


def _subject(sections: Sequence[Section]) -> str:
    """The words that most of the texts share and general prose does not have; "" where there is none."""
    counts = Counter(word for section in sections for word in _distinctive(section))
    return ", ".join(
        word for word, count in counts.most_common(3) if count >= max(3, _SHARED * len(sections))
    )


def _distinctive(section: Section) -> list[str]:
    said = [
        section.content,
        *(text for pair in section.pairs for text in msgspec.structs.astuple(pair)),
    ]
    words = {word.lower() for text in said for word in _WORD.findall(text[:MAX_CHARS])}
    return sorted(words - _general() - _FRAME_WORDS)


@cache
def _general() -> frozenset[str]:
    return frozenset(word.lower() for text in packaged.prose() for word in _WORD.findall(text))


def _adapter_ablation(material: Material) -> Chosen:
    yield _entry("grows_with_scale", "adapter_ablation", prompts=_prompts(material, _CURVE))


_CHOICES: Final[tuple[Callable[[Material], Chosen], ...]] = (
    _calibration,
    _leakage,
    _delta_kl,
    _section_internalization,
    _paraphrase_invariance,
    _preference_flip,
    _prompt_collapse,
    _style_fingerprint,
    _adapter_revert,
    _cluster_kl,
    _adapter_ablation,
)


def _entry(name: str, kind: str, **fields: Any) -> Entry:
    return Entry({"name": name, "kind": kind, **fields})


def _tried(material: Material, entry: Entry) -> Entry | LeftOut:
    """The entry where its probe finds what it needs in the data, else what the probe says."""
    kind = entry.fields["kind"]
    try:
        module(kind).requests(
            msgspec.convert(entry.fields, KINDS[kind]), Context(material.sections)
        )
    except (CannotRun, Skip) as reason:
        return LeftOut(kind, str(reason))
    return entry


def _prompts(material: Material, limit: int) -> list[str]:
    """Neutral ones where the data has none that is short enough."""
    return prompts(material.sections, limit) or list(packaged.prompts()[:limit])


def _cases(material: Material, intent: Intent) -> list[dict[str, Any]]:
    """Some of the questions with that intent, evenly chosen, each with other ways to ask it."""
    asked = [
        (_intent(material, section), pair)
        for section in material.sections
        for pair in section.pairs
    ]
    found = [
        {"prompt": pair.prompt, "gold": pair.gold, "paraphrases": others}
        for own, pair in asked
        if own == intent and isinstance(pair, Pair) and is_usable(pair.prompt + pair.gold)
        if len(pair.gold) <= _MAX_ANSWER_CHARS and (others := paraphrases(pair.prompt))
    ]
    return thinned(found, _CASES)


def _intent(material: Material, section: Section) -> Intent:
    return "memorize" if material.by_heart else section.intent
